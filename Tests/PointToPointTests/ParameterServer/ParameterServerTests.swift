import Buffers
import Codecs
import MPI
import PointToPoint
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

@Suite(.serialized) struct ParameterServerTests {
  private let world = allRanks
  private let hosts: HostMap

  init() throws { hosts = try HostMap(world) }

  /// The values of a model of one number after each push: f = ½w², η = 0.1, w = 1 at first.
  private func trace(_ rule: PushRule, order: [Int], count: Int, bound: ClosedRange<Int>? = nil) throws -> [Float] {
    let model = FloatBuffer(count: 1)
    model[0] = 1
    var values: [Float] = []
    var settings = ParameterServer.Settings(workerCount: 2)
    (settings.rule, settings.bound) = (rule, bound)
    let server = try ParameterServer(
      hosts, layout: TensorLayout([("w", [1])]), parameters: model, codec: Identity(), settings: settings
    ) { range, gradient, _, rate, _ in
      for index in range { model[index] -= rate(0.1) * gradient[index - range.lowerBound] }
      values.append(model[0])
    }
    try server.run(0..<count, usesFloats: true, order: .listed(order)) { _, _, parameters, gradient, _ in
      gradient[0] = parameters[0]
      return 1
    }
    #expect(server.history == order)
    return values
  }

  /// What workers and owners of one host send one another is counted and predicted inside it, unless no memory is shared.
  @Test(.ranks(atLeast: 2)) func bytesStayInsideAHost() throws {
    for transport in Transport.allCases {
      let model = TargetModel(ParameterServer.Settings(workerCount: world.count))
      let server = try model.server(HostMap(world, transport: transport))
      _ = try model.train(server, [0..<6 * world.count])
      for traffic in [server.traffic, server.predictedTraffic(of: world.count)] {
        let (inside, outside) = (traffic.hostBytesSent, traffic.networkBytesSent)
        #expect(transport == .auto ? inside > 0 && outside == 0 : inside == 0 && outside > 0, "\(transport): \(traffic)")
      }
    }
  }

  /// The traces of the guide: both workers pull 1, then push in turn and pull after each push.
  @Test(.enabled(if: allRanks.count == 1, "one rank is both workers")) func tracesAreThoseOfTheEquations() throws {
    func expect(_ rule: PushRule, _ expected: [Double]) throws {
      let found = try trace(rule, order: [0, 1, 0, -1, 1, -2], count: 4)
      for (value, right) in zip(found, expected) { #expect(abs(Double(value) - right) < 2e-7, "\(found) \(expected)") }
      #expect(found.count == expected.count)
    }
    try expect(PushRule(), [0.9, 0.8, 0.71, 0.63])
    let constant = DelayCompensation(.constant, lambda: 0.5, clamp: .infinity)
    try expect(PushRule(compensation: constant), [0.9, 0.805, 0.7188475, 0.641138949])
    let adaptive = DelayCompensation(.adaptive, lambda: 2, mean: 0.95, clamp: .infinity)
    try expect(PushRule(compensation: adaptive), [0.9, 0.864051229, 0.790012559, 0.73092319])
    // The staleness is 0, and then 1.
    try expect(PushRule(rate: .inverse), [0.9, 0.8, 0.71, 0.63])
  }

  /// With a bound a worker pulls later than it pushes, and what it pulled is what its next gradient is compensated by: in step by hand.
  @Test(.enabled(if: allRanks.count == 1, "one rank is both workers")) func backupsAreThoseOfThePull() throws {
    let constant = DelayCompensation(.constant, lambda: 0.5, clamp: .infinity)
    let found = try trace(
      PushRule(compensation: constant), order: [0, 1, 0, 1, -1, -2], count: 4, bound: 0...0)
    // Both pull 0.805 after their first pushes: the third gradient is fresh, the fourth one 0.0805 late.
    let fourth = 0.805 + 0.5 * 0.805 * 0.805 * (0.7245 - 0.805)
    for (value, right) in zip(found, [0.9, 0.805, 0.7245, 0.7245 - 0.1 * fourth]) {
      #expect(abs(Double(value) - right) < 2e-7, "\(found)")
    }
  }

  /// A compensation of 0 is none, bit for bit; a clamp is kept.
  @Test func compensationIsLimited() {
    let count = 33
    let (gradient, now, before, squares) = (
      FloatBuffer(count: count), FloatBuffer(count: count), FloatBuffer(count: count), FloatBuffer(count: count)
    )
    for i in 0..<count {
      (gradient[i], now[i], before[i]) = (Float(i - 16) * 0.3, Float(i % 5), Float(i % 3) - 1)
    }
    func corrected(_ compensation: DelayCompensation) -> [Float] {
      let copy = FloatBuffer(count: count)
      copy.copy(from: gradient)
      squares.clear()
      compensation.correct(
        copy.baseAddress, now: now.baseAddress, before: before.baseAddress, squares: squares.baseAddress, count: count)
      return Array(copy.values)
    }
    for form in DelayCompensation.Form.allCases {
      #expect(corrected(DelayCompensation(form, lambda: 0)) == Array(gradient.values))
      let limited = corrected(DelayCompensation(form, lambda: 100, clamp: 0.5))
      for i in 0..<count { #expect(abs(limited[i] - gradient[i]) <= 0.5 * abs(gradient[i]) * 1.000001, "\(form) \(i)") }
      #expect(limited != Array(gradient.values))
    }
    // An overflow of the square is no reason for a value that is not a number.
    gradient[0] = 3e38
    (now[0], before[0]) = (1, 1)
    #expect(corrected(DelayCompensation(.constant, lambda: 1))[0] == 3e38)
  }

  /// The rates of the guide; without staleness all are those of the schedule.
  @Test func ratesFallWithTheStaleness() {
    #expect(PushRule(rate: .inverse).rate(1, staleness: 4, number: 9) == 0.25)
    #expect(abs(PushRule(rate: .exponential(beta: 0.5)).rate(1, staleness: 3, number: 9) - 0.22313016) < 1e-7)
    #expect(PushRule(rate: .adaDelay(l: 5, c: 2)).rate(1, staleness: 7, number: 9) == Float(1.0 / 13))
    for rate in [PushRule.Rate.uniform, .inverse, .exponential(beta: 2), .adaDelay(l: 1, c: 0)] {
      #expect(PushRule(rate: rate).rate(0.3, staleness: 0, number: 1) == 0.3)
    }
  }

  private func course(
    _ speed: EmulatedSpeed, of minibatches: Range<Int>, workers: Int, bound: ClosedRange<Int>? = nil, seed: UInt64 = 1
  ) -> EmulatedSpeed.Course {
    var settings = ParameterServer.Settings(workerCount: workers)
    (settings.bound, settings.seed) = (bound, seed)
    return speed.course(of: minibatches, settings)
  }

  /// Orders in emulated time: equal workers take turns; a slow one does its part; a bound keeps the others near it.
  @Test func emulatedOrdersAreThoseOfTheirSpeeds() throws {
    let equal = course(.roundRobin, of: 0..<8, workers: 4)
    #expect(equal.order.filter { $0 >= 0 } == [0, 1, 2, 3, 0, 1, 2, 3] && equal.duration == 2)
    let slow = EmulatedSpeed.slow(factor: 4)
    // 7 + 1/4 pushes in a unit of time without a bound, 8/4 with one of 0: experiments §2.
    let free = course(slow, of: 0..<2900, workers: 8)
    #expect(abs(2900 / free.duration - 7.25) < 0.03 * 7.25)
    for bound in [0, 2, 8] {
      let course = course(slow, of: 0..<800, workers: 8, bound: bound...bound)
      #expect(abs(800 / course.duration - 2) < 0.05 * 2 + Double(bound) * 0.02, "\(bound): \(800 / course.duration)")
      var (clocks, gap) = (Array(repeating: 0, count: 8), 0)
      var ended = Set<Int>()
      for event in course.order {
        if event >= 0 { clocks[event] += 1 } else { ended.insert(-1 - event) }
        let running = clocks.indices.filter { !ended.contains($0) }.map { clocks[$0] }
        if ended.isEmpty { gap = max(gap, running.max()! - running.min()!) }
      }
      #expect(gap == bound + 1, "\(bound)")
    }
    let mean = course(.exponential, of: 0..<4000, workers: 1, seed: 3).duration / 4000
    #expect(abs(mean - 1) < 0.08)
    let jitter = course(.jitter(extra: 4), of: 0..<4000, workers: 1, seed: 3).duration / 4000
    #expect(abs(jitter - 1.4) < 0.1)
    // Measured times: lists of one are speeds; of several, each is drawn as often as the others.
    for bound in [nil, 2...2] as [ClosedRange<Int>?] {
      let measured = course(.measured([[1], [1], [1], [4]]), of: 0..<100, workers: 4, bound: bound)
      #expect(measured == course(.slow(factor: 4), of: 0..<100, workers: 4, bound: bound))
    }
    let drawn = course(.measured([[1, 2, 6]]), of: 0..<4000, workers: 1, seed: 3).duration / 4000
    #expect(abs(drawn - 3) < 0.12)
    for text in ["rr", "exp", "slow:1", "slow:5", "jitter:4", "jitter:0"] { #expect(EmulatedSpeed(text) != nil, "\(text)") }
    for text in ["", "slow", "slow:0.5", "slow:x", "rr:1", "jitter:-1", "jitter:inf", "fast"] {
      #expect(EmulatedSpeed(text) == nil, "\(text)")
    }
  }

  private static let layout: TensorLayout = {
    var layout = TensorLayout([("a", [7, 33]), ("b", [7]), ("c", [5, 130]), ("d", [1])])
    layout.append("e", shape: [150], kind: .raw)
    return layout
  }()

  /// Trains a linear model towards random targets by minibatch in a listed order; every rank gets the values after two meetings.
  private func train(
    _ codec: any Codec, workers: Int, order speed: EmulatedSpeed, _ change: (inout ParameterServer.Settings) -> Void = { _ in }
  ) throws -> [Float] {
    let layout = Self.layout
    let model = FloatBuffer(count: layout.count)
    let random = Philox(seed: 4, purpose: .tests)
    for i in 0..<model.count { model[i] = random.uniform(i) - 0.5 }
    var settings = ParameterServer.Settings(workerCount: workers)
    settings.seed = 6
    change(&settings)
    let server = try ParameterServer(hosts, layout: layout, parameters: model, codec: codec, settings: settings) {
      range, gradient, _, rate, _ in
      let rate = rate(0.2)
      for i in range { model[i] -= rate * gradient[i - range.lowerBound] }
    }
    for segment in [0..<13, 13..<40, 40..<40, 40..<42] {
      let course = speed.course(of: segment, settings)
      try server.run(segment, usesFloats: segment.lowerBound == 0, order: .listed(course.order)) {
        _, minibatch, parameters, gradient, serve in
        for i in 0..<gradient.count {
          gradient[i] = parameters[i] - random.uniform(i + 10_000 * (minibatch % 3))
          if i % 100 == 50 { serve() }
        }
        return minibatch == 5 ? 0 : 3
      }
      #expect(server.history == course.order)
    }
    return Array(model.values)
  }

  /// In a listed order the bits are those of one rank, for any number of ranks, codec, bound and form of answers.
  @Test(.ranks(atMost: 4)) func listedOrdersGiveTheBitsOfOneRank() throws {
    let alone = try HostMap(allRanks.split(color: world.rank))
    for codec in [try codecs.make("none"), try codecs.make("one-bit"), try codecs.make("multi-bit:bits=4")] {
      for (workers, bound) in [(12, nil), (12, 0), (12, 2)] as [(Int, Int?)] where workers % world.count == 0 {
        for speed in [EmulatedSpeed.exponential, .slow(factor: 3)] {
          func change(_ settings: inout ParameterServer.Settings) {
            settings.bound = bound.map { $0...$0 }
            settings.pushesPerUpdate = bound == 0 ? workers : 1
            settings.rule.compensation = DelayCompensation(.adaptive, lambda: 2)
            settings.pullsFloats = bound == 2
          }
          let found = try train(codec, workers: workers, order: speed, change)
          let all = try world.allGather(found)
          for rank in 0..<world.count { #expect(Array(all[rank * found.count..<(rank + 1) * found.count]) == found) }
          let suite = ParameterServerTests(hosts: alone)
          #expect(try suite.train(codec, workers: workers, order: speed, change) == found, "\(codec.specification) \(workers)")
        }
      }
    }
    try world.barrier()
  }

  private init(hosts: HostMap) { self.hosts = hosts }

  /// Live, every minibatch is done once, by whoever is free, and all ranks end with one model.
  @Test(.ranks(atMost: 4)) func liveRunsDoEveryMinibatchOnce() throws {
    let layout = Self.layout
    for bound in [nil, 0, 1] as [Int?] {
      let model = FloatBuffer(count: layout.count)
      var settings = ParameterServer.Settings(workerCount: world.count)
      settings.bound = bound.map { $0...$0 }
      let server = try ParameterServer(hosts, layout: layout, parameters: model, codec: Identity(), settings: settings) {
        range, gradient, _, rate, _ in
        for i in range { model[i] += gradient[i - range.lowerBound] }
      }
      var done = [Double](repeating: 0, count: 50)
      for segment in [0..<20, 20..<21, 21..<50] {
        try server.run(segment, usesFloats: false, order: .live) { _, minibatch, _, gradient, serve in
          for i in 0..<gradient.count {
            gradient[i] = Float(minibatch + 1)
            if i % 50 == 0 { serve() }
          }
          done[minibatch] += 1
          return 1
        }
        #expect(model.values.allSatisfy { $0 == Float(segment.upperBound * (segment.upperBound + 1) / 2) }, "\(segment)")
      }
      let all = try world.allGather(done)
      for minibatch in 0..<50 {
        #expect((0..<world.count).reduce(0) { $0 + all[$1 * 50 + minibatch] } == 1, "\(minibatch)")
      }
    }
  }
}

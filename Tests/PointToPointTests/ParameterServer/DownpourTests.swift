import Buffers
import Codecs
import MPI
import PointToPoint
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Workers that push several gradients at once, pull now and then, and compute while messages are under way.
@Suite(.serialized) struct DownpourTests {
  private let world = allRanks
  private let hosts: HostMap

  init() throws { hosts = try HostMap(world) }

  private struct Case: CustomStringConvertible {
    let (perPush, perPull, isPipelined): (Int, Int, Bool)
    var description: String { "push=\(perPush) pull-every=\(perPull) pipeline=\(isPipelined)" }

    func settings(_ workers: Int) -> ParameterServer.Settings {
      var settings = ParameterServer.Settings(workerCount: workers)
      (settings.minibatchesPerPush, settings.pushesPerPull, settings.isPipelined) = (perPush, perPull, isPipelined)
      settings.seed = 6
      return settings
    }
  }

  private static let cases = [
    Case(perPush: 1, perPull: 1, isPipelined: false), Case(perPush: 3, perPull: 1, isPipelined: false),
    Case(perPush: 1, perPull: 3, isPipelined: false), Case(perPush: 2, perPull: 2, isPipelined: false),
    Case(perPush: 1, perPull: 1, isPipelined: true), Case(perPush: 3, perPull: 2, isPipelined: true),
  ]

  /// What a worker of the reference holds.
  private struct Worker {
    var x: [Float], pulled: [Float]
    /// Σηg of the last block, what the worker got since it began it, and its blocks.
    var own: [Float] = [], answer: [Float]?, blocks: [Range<Int>] = []
    var pushCount = 0
  }

  /// The model after each push by the equations of §7.1, without messages.
  private func reference(_ target: TargetModel, _ blocks: [Range<Int>], order: [Int]) -> [Float] {
    let (settings, count, rate) = (target.settings, target.model.count, target.rate)
    var w = Array(target.model.values)
    let ahead = settings.isPipelined ? 2 : 1
    var next = min(ahead * settings.workerCount, blocks.count)
    var workers = (0..<settings.workerCount).map { id in
      Worker(
        x: w, pulled: w,
        blocks: (0..<ahead).map { $0 * settings.workerCount + id }.filter { $0 < blocks.count }.map { blocks[$0] })
    }
    for id in order where id >= 0 {
      let block = workers[id].blocks.removeFirst()
      var sum = [Float](repeating: 0, count: count)
      workers[id].own = sum
      for minibatch in block {
        let g = target.gradient(minibatch, at: workers[id].x)
        for i in 0..<count {
          sum[i] = minibatch == block.lowerBound ? g[i] : sum[i] + g[i]
          workers[id].x[i] -= rate * g[i]
          workers[id].own[i] += rate * g[i]
        }
      }
      // What was asked for with the push before has come meanwhile.
      if settings.isPipelined, let answer = workers[id].answer {
        for i in 0..<count { workers[id].x[i] = answer[i] - workers[id].own[i] }
        workers[id].answer = nil
      }
      let share = 1 / Float(block.count)
      for i in 0..<count { w[i] -= (rate * Float(block.count)) * (block.count > 1 ? sum[i] * share : sum[i]) }
      workers[id].pushCount += 1
      if workers[id].pushCount % settings.pushesPerPull == 0 {
        if settings.isPipelined { workers[id].answer = w } else { workers[id].x = w }
      }
      if next < blocks.count { workers[id].blocks.append(blocks[next]) }
      next += 1
    }
    return w
  }

  /// The equations, bit for bit, for several workers on one rank.
  @Test(.enabled(if: allRanks.count == 1, "one rank is all workers")) func descentIsThatOfTheEquations() throws {
    for (kind, speed) in Self.cases.flatMap({ kind in [(kind, EmulatedSpeed.roundRobin), (kind, .exponential)] }) {
      for workers in [1, 2, 5] {
        let target = TargetModel(kind.settings(workers))
        // Blocks of equal size: the minibatches of a segment are shared out among the workers in whole rounds.
        let count = kind.perPush * workers * 6
        let blocks = (0..<count / kind.perPush).map { $0 * kind.perPush..<($0 + 1) * kind.perPush }
        let course = speed.course(of: 0..<count, target.settings)
        #expect(course.order.count { $0 >= 0 } == blocks.count)
        let expected = reference(target, blocks, order: course.order)
        #expect(try target.train(target.server(hosts), [0..<count], speed) == expected, "\(kind) \(workers) \(speed)")
      }
    }
  }

  /// One worker is plain descent bit for bit as long as it pushes every gradient, however seldom it pulls, and also while it computes.
  @Test(.enabled(if: allRanks.count == 1, "one rank is one worker")) func oneWorkerIsPlainDescent() throws {
    for kind in Self.cases {
      let target = TargetModel(kind.settings(1))
      var plain = Array(target.model.values)
      for minibatch in 0..<17 {
        let g = target.gradient(minibatch, at: plain)
        for i in plain.indices { plain[i] -= target.rate * g[i] }
      }
      let found = try target.train(target.server(hosts), [0..<7, 7..<8, 8..<8, 8..<17])
      if kind.perPush == 1 {
        #expect(found == plain, "\(kind)")
      } else {
        for i in plain.indices { #expect(abs(found[i] - plain[i]) < 1e-6, "\(kind)") }
      }
    }
  }

  /// A worker always sees its own updates, whatever others do; each does its part, and the gradients of all are applied once.
  @Test(.ranks(atMost: 4)) func workersReadTheirOwnWrites() throws {
    for kind in Self.cases {
      var settings = kind.settings(world.count)
      settings.bound = 0...3
      let layout = TensorLayout([("w", [world.count])])
      let model = FloatBuffer(count: world.count)
      let server = try ParameterServer(
        hosts, layout: layout, parameters: model, codec: Identity(), settings: settings, rate: { _ in 1 }
      ) { range, gradient, _, rate, _ in for i in range { model[i] -= rate(1) * gradient[i - range.lowerBound] } }
      var own = 0
      for segment in [0..<23, 23..<24, 24..<60] {
        try server.run(segment, usesFloats: false, order: .live) { worker, _, parameters, gradient, serve in
          #expect(parameters[worker] == Float(own), "\(kind)")
          serve()
          gradient.clear()
          gradient[worker] = -1
          own += 1
          return 1
        }
        let all = try world.allGather([Float(own)])
        #expect(Array(model.values) == all, "\(kind)")
        #expect(all.reduce(0, +) == Float(segment.upperBound))
      }
    }
  }

  /// Gradients are as old as workers make them: K − 1 pushes in turn, K more if they compute meanwhile.
  @Test(.enabled(if: allRanks.count == 1, "one rank is all workers")) func stalenessIsCounted() throws {
    for (workers, isPipelined, expected) in [(1, false, 0), (1, true, 1), (4, false, 3), (4, true, 7)] {
      let target = TargetModel(Case(perPush: 1, perPull: 1, isPipelined: isPipelined).settings(workers))
      let server = try target.server(hosts)
      _ = try target.train(server, [0..<40], .roundRobin)
      let all = server.staleness.reduce(into: [Int: Int]()) { $0.merge($1) { $0 + $1 } }
      #expect(all.keys.max() == expected && all[expected]! >= 40 - 2 * workers, "\(workers) \(isPipelined): \(all)")
    }
    // Of n pushes applied at once about K/n updates lie between two pulls of a worker.
    var settings = ParameterServer.Settings(workerCount: 8)
    settings.pushesPerUpdate = 2
    let server = try TargetModel(settings).server(hosts)
    _ = try TargetModel(settings).train(server, [0..<80], .roundRobin)
    let all = server.staleness.reduce(into: [Int: Int]()) { $0.merge($1) { $0 + $1 } }
    #expect(all.keys.max()! == 4 && all[4]! + all[3]! >= 64, "\(all)")
  }

  /// Of gradients applied at once each counts by its own staleness: w ← w − Σ η/(n·max(1, τ))·g.
  @Test(.enabled(if: allRanks.count == 1, "one rank is all workers")) func eachGradientHasTheRateOfItsOwnStaleness() throws {
    var settings = ParameterServer.Settings(workerCount: 3)
    (settings.pushesPerUpdate, settings.rule.rate) = (2, .inverse)
    let model = FloatBuffer(count: 1)
    var values: [Float] = []
    let server = try ParameterServer(
      hosts, layout: TensorLayout([("w", [1])]), parameters: model, codec: Identity(), settings: settings
    ) { _, gradient, _, rate, _ in
      model[0] -= rate(1) * gradient[0]
      values.append(model[0])
    }
    let order = [0, 1, 0, 1, 0, 2, 0, 1]
    try server.run(0..<8, usesFloats: false, order: .listed(order + [-1, -2, -3])) { worker, _, _, gradient, _ in
      gradient[0] = Float([-1, -16, -64][worker])
      return 1
    }
    // By hand, the workers of each update and their staleness: 0 (0) and 1 (0), 0 (1) and 1 (0), 0 (1) and 2 (2), 0 (1) and 1 (1).
    let expected: [Double] = [(1 + 16) / 2, (1 + 16) / 2, (1 + 64 / 2) / 2, (1 + 16) / 2]
    var sum = 0.0
    for (value, step) in zip(values, expected) {
      sum += step
      #expect(abs(Double(value) - sum) < 1e-4, "\(values)")
    }
    #expect(values.count == 4)
  }

  /// A fast worker that pushes twice before an update loses neither gradient.
  @Test(.enabled(if: allRanks.count == 1, "one rank is all workers")) func aWorkerMayPushTwiceInAnUpdate() throws {
    var settings = ParameterServer.Settings(workerCount: 2)
    settings.pushesPerUpdate = 3
    let model = FloatBuffer(count: 1)
    let server = try ParameterServer(
      hosts, layout: TensorLayout([("w", [1])]), parameters: model, codec: Identity(), settings: settings
    ) { _, gradient, _, rate, _ in model[0] -= rate(3) * gradient[0] }
    try server.run(0..<4, usesFloats: false, order: .listed([0, 0, 1, 0, -1, -2])) { _, minibatch, _, gradient, _ in
      gradient[0] = [-1, -10, -100, -1000][minibatch]
      return 1
    }
    // The mean of three, and at the meeting what is left.
    #expect(abs(model[0] - (111 + 3 * 1000)) < 1e-2, "\(model[0])")
  }

  /// A bound that is chosen at each wait stays in its range, and shortens the waits of workers whose times vary.
  @Test func aBoundIsChosenInItsRange() {
    func course(_ bound: ClosedRange<Int>?) -> (course: EmulatedSpeed.Course, gap: Int) {
      var settings = ParameterServer.Settings(workerCount: 8)
      settings.bound = bound
      let course = EmulatedSpeed.jitter(extra: 4).course(of: 0..<1600, settings)
      var (clocks, gap) = (Array(repeating: 0, count: 8), 0)
      for event in course.order {
        guard event >= 0 else { break }
        clocks[event] += 1
        gap = max(gap, clocks.max()! - clocks.min()!)
      }
      return (course, gap)
    }
    let (low, between, high) = (course(1...1), course(1...4), course(4...4))
    #expect(low.gap == 2 && high.gap == 5)
    #expect(between.gap > 2 && between.gap <= 5, "\(between.gap)")
    #expect(between.course.waiting < low.course.waiting && between.course.duration < low.course.duration)
    #expect(course(3...3).course == course(3...3).course && course(0...0).gap == 1)
  }
}

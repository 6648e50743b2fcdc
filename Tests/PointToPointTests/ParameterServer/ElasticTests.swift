import Buffers
import Codecs
import MPI
import PointToPoint
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Workers with models of their own, elastically bound to a centre.
@Suite(.serialized) struct ElasticTests {
  private let world = allRanks
  private let hosts: HostMap

  init() throws { hosts = try HostMap(world) }

  private func settings(_ workers: Int, alpha: Float, period: Int = 1) -> ParameterServer.Settings {
    var settings = ParameterServer.Settings(workerCount: workers)
    (settings.method, settings.minibatchesPerPush, settings.seed) = (.elastic(alpha: alpha), period, 6)
    return settings
  }

  /// The trace of the guide: two workers with minima at 1 and −1, one after the other, α = 0.3, η = 0.1.
  @Test(.enabled(if: allRanks.count == 1, "one rank is both workers")) func theTraceIsThatOfTheEquations() throws {
    let centre = FloatBuffer(count: 1)
    centre[0] = 0.5
    let server = try ParameterServer(
      hosts, layout: TensorLayout([("w", [1])]), parameters: centre, codec: Identity(), settings: settings(2, alpha: 0.3),
      step: { _, x, gradient, _, _ in x[0] -= 0.1 * gradient[0] }, update: { _, _, _, _, _ in })
    try server.run(0..<0, usesFloats: true, order: .listed([-1, -2]), work: { _, _, _, _, _ in 0 })
    let workers = server.workerValues.map(\.values)
    for x in workers { x[0] = 0 }
    let expected = [[0.25, 0.005, 0.245], [0.3235, -0.02305, 0.17405], [0.346315, -0.0481645, 0.1463045]]
    for (round, right) in expected.enumerated() {
      try server.run(2 * round..<2 * round + 2, usesFloats: round == 1, order: .listed([0, -1, 1, -2])) {
        worker, _, x, gradient, _ in
        gradient[0] = x[0] - [1, -1][worker]
        return 1
      }
      for (value, right) in zip([workers[0][0], workers[1][0], centre[0]], right) {
        #expect(abs(Double(value) - right) < 1e-7, "round \(round): \(value) \(right)")
      }
    }
  }

  /// Without gradients the sum of all models and the centre stays, with any codec and on any number of ranks; with steps of their own
  /// it moves by these.
  @Test(.ranks(atMost: 4)) func theSumOfModelsAndCentreStays() throws {
    for codec in [try codecs.make("none"), try codecs.make("one-bit"), try codecs.make("multi-bit:bits=2")] {
      for step in [0, 0.25] as [Float] {
        var target = TargetModel(settings(4 * world.count, alpha: 0.2, period: 2))
        (target.codec, target.rate) = (codec, step)
        let server = try target.server(hosts)
        try server.run(0..<0, usesFloats: true, order: .listed((0..<4 * world.count).map { -1 - $0 })) { _, _, _, _, _ in 0 }
        let random = Philox(seed: 7, purpose: .tests)
        for (worker, x) in server.workerValues { for i in 0..<x.count { x[i] = 4 * random.uniform(i + 1000 * worker) - 2 } }
        func sum() throws -> [Double] {
          var own = [Double](repeating: 0, count: target.model.count)
          for (_, x) in server.workerValues { for i in own.indices { own[i] += Double(x[i]) } }
          let all = try world.allGather(own)
          return own.indices.map { i in
            (0..<world.count).reduce(Double(target.model[i])) { $0 + all[$1 * own.count + i] }
          }
        }
        let before = try sum()
        var steps = [Double](repeating: 0, count: before.count)
        let course = EmulatedSpeed.exponential.course(of: 0..<60, target.settings)
        try server.run(0..<60, usesFloats: false, order: .listed(course.order)) { _, _, x, gradient, _ in
          for i in 0..<gradient.count {
            gradient[i] = x[i].rounded()
            steps[i] += Double(step) * Double(gradient[i])
          }
          return 1
        }
        let all = try world.allGather(steps)
        let after = try sum()
        for i in before.indices {
          let moved = (0..<world.count).reduce(0) { $0 + all[$1 * before.count + i] }
          #expect(abs(after[i] + moved - before[i]) < 1e-4, "\(codec.specification) \(i): \(before[i]) \(after[i]) \(moved)")
        }
        // They have drawn near to each other, all the same.
        for (_, x) in server.workerValues where step == 0 {
          #expect(x.values.allSatisfy { abs($0) < 1.9 } || !codec.isIdentity)
        }
      }
    }
  }

  /// The codes of the exchange, by the codec alone: x as the difference to what the owner knows, Δ = α(x − centre) from that, neither
  /// with a residual, and the same decoded Δ on both sides.
  @Test(.enabled(if: allRanks.count == 1, "one rank is all workers")) func bothSidesMoveByWhatTheCodeCarries() throws {
    let codec = try codecs.make("one-bit")
    var target = TargetModel(settings(2, alpha: 0.25))
    target.codec = codec
    let codes = ShardCodes(target.layout, codec: codec, shardCount: 1)
    func carried(_ values: [Float]) -> [Float] {
      let (coder, result) = (GroupCoder(codec, count: values.count), FloatBuffer(count: values.count))
      let code = ByteBuffer(count: codes.byteCount(of: 0))
      _ = values.withUnsafeBufferPointer {
        codes.encode(0, $0.baseAddress!, by: coder, at: 0, into: code.baseAddress, context: EncodingContext())
      }
      codes.decode(0, code.baseAddress, by: coder, setting: result.baseAddress)
      return Array(result.values)
    }
    var centre = Array(target.model.values)
    var (x, known) = ([centre, centre], [centre, centre])
    let order = [0, 1, 1, 0, 1, 0, 0, 1]
    for (place, worker) in order.enumerated() {
      let g = target.gradient(place, at: x[worker])
      let change = carried(zip(x[worker], known[worker]).map { $0 - $1 })
      for i in g.indices {
        known[worker][i] += change[i]
        x[worker][i] -= target.rate * g[i]
      }
      let move = carried(zip(known[worker], centre).map { 0.25 * ($0 - $1) })
      for i in g.indices {
        centre[i] += move[i]
        known[worker][i] -= move[i]
        x[worker][i] -= move[i]
      }
    }
    let server = try target.server(hosts)
    var done = [0, 0]
    try server.run(0..<8, usesFloats: false, order: .listed(order + [-1, -2])) { worker, _, values, gradient, _ in
      // The gradients of the reference are those of the places of pushes.
      let place = order.indices.filter { order[$0] == worker }[done[worker]]
      done[worker] += 1
      for (i, value) in target.gradient(place, at: values.values).enumerated() { gradient[i] = value }
      return 1
    }
    #expect(Array(target.model.values) == centre)
    for (worker, values) in server.workerValues { #expect(Array(values.values) == x[worker], "\(worker)") }
  }

  /// α = 0 leaves the centre as it is and workers alone; blocks without gradients change nothing.
  @Test(.enabled(if: allRanks.count == 1, "one rank is all workers")) func withoutABondWorkersDescendAlone() throws {
    for codec in ["none", "one-bit"] {
      var target = TargetModel(settings(3, alpha: 0, period: 2))
      target.codec = try codecs.make(codec)
      let before = Array(target.model.values)
      let server = try target.server(hosts)
      let found = try target.train(server, [0..<18], .roundRobin, skipping: 4)
      #expect(found == before, "\(codec)")
      for (worker, values) in server.workerValues {
        var x = before
        let own = [0, 6, 12].flatMap { round -> [Int] in [round + 2 * worker, round + 2 * worker + 1] }
        for minibatch in own where minibatch != 4 {
          let g = target.gradient(minibatch, at: x)
          for i in x.indices { x[i] -= target.rate * g[i] }
        }
        #expect(Array(values.values) == x, "\(codec) \(worker)")
      }
    }
  }

  /// Round robin is stable up to α = (4 − 2ηh)/(4 − ηh), and not beyond (algorithms §8).
  @Test(.enabled(if: allRanks.count == 1, "one rank is all workers")) func theBoundOfStabilityHolds() throws {
    for (workers, step) in [(4, 0.5), (8, 1.5)] as [(Int, Float)] {
      for (share, converges) in [(0.95, true), (1.05, false)] as [(Float, Bool)] {
        let centre = FloatBuffer(count: 1)
        centre[0] = 1
        let alpha = share * (4 - 2 * step) / (4 - step)
        let server = try ParameterServer(
          hosts, layout: TensorLayout([("w", [1])]), parameters: centre, codec: Identity(),
          settings: settings(workers, alpha: alpha), step: { _, x, gradient, _, _ in x[0] -= step * gradient[0] },
          update: { _, _, _, _, _ in })
        let minibatches = 0..<600 * workers
        let course = EmulatedSpeed.roundRobin.course(of: minibatches, settings(workers, alpha: alpha))
        try server.run(minibatches, usesFloats: true, order: .listed(course.order)) { _, _, x, gradient, _ in
          gradient[0] = x[0]
          return 1
        }
        #expect((abs(centre[0]) < 1) == converges, "\(workers) \(step) \(share): \(centre[0])")
      }
    }
  }
}

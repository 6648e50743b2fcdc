import Buffers
import Codecs
import MPI
import PointToPoint
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Elastic averaging in step: all workers meet the same centre (algorithms §8, synchronous).
@Suite(.serialized) struct ElasticTogetherTests {
  private let world = allRanks
  private let hosts: HostMap

  init() throws { hosts = try HostMap(world) }

  private func settings(_ workers: Int, alpha: Float, period: Int = 1) -> ParameterServer.Settings {
    var settings = ParameterServer.Settings(workerCount: workers)
    (settings.method, settings.minibatchesPerPush, settings.seed) = (.elastic(alpha: alpha, together: true), period, 6)
    settings.bound = 0...0
    return settings
  }

  /// x_i ← x_i − ηg_i − Δ_i and centre ← centre + Σ Δ_i, in the order of the workers, whoever comes first; in fp32 bit for bit.
  @Test(arguments: [1, 3]) func thePlainLoop(_ period: Int) throws {
    let count = world.count
    let target = TargetModel(settings(count, alpha: 0.2, period: period))
    var centre = Array(target.model.values)
    var x = Array(repeating: centre, count: count)
    let rounds = 6
    for round in 0..<rounds {
      var moves: [[Float]] = []
      for worker in 0..<count {
        let first = (round * count + worker) * period
        for minibatch in first..<first + period {
          let g = target.gradient(minibatch, at: x[worker])
          let before = x[worker]
          for i in g.indices { x[worker][i] -= target.rate * g[i] }
          if minibatch + 1 == first + period { moves.append(zip(before, centre).map { 0.2 * ($0 - $1) }) }
        }
        for i in centre.indices { x[worker][i] -= moves[worker][i] }
      }
      for move in moves { for i in centre.indices { centre[i] += move[i] } }
    }
    let server = try target.server(hosts)
    var random = SplitMix(3, world.rank)
    try server.run(0..<rounds * count * period, usesFloats: false, order: .live) { _, minibatch, parameters, gradient, serve in
      sleepAtRandom(&random, upTo: 500)
      for (i, value) in target.gradient(minibatch, at: parameters.values).enumerated() { gradient[i] = value }
      serve()
      return 2
    }
    #expect(firstDifference(Array(target.model.values), centre) == nil)
    for (worker, values) in server.workerValues {
      #expect(firstDifference(Array(values.values), x[worker]) == nil, "worker \(worker)")
    }
    #expect(server.staleness.allSatisfy { $0.keys.allSatisfy { $0 == 0 } }, "\(server.staleness)")
  }

  /// Without gradients that move, the sum of models and centre stays whatever the codec carries.
  @Test(.ranks(atMost: 4), arguments: ["none", "one-bit", "multi-bit:bits=2"]) func theSumOfModelsAndCentreStays(
    _ codec: String
  ) throws {
    var target = TargetModel(settings(2 * world.count, alpha: 0.9 / Float(2 * world.count)))
    (target.codec, target.rate) = (try codecs.make(codec), 0)
    let server = try target.server(hosts)
    try server.run(0..<0, usesFloats: true, order: .listed((0..<2 * world.count).map { -1 - $0 })) { _, _, _, _, _ in 0 }
    let random = Philox(seed: 7, purpose: .tests)
    for (worker, x) in server.workerValues { for i in 0..<x.count { x[i] = 4 * random.uniform(i + 1000 * worker) - 2 } }
    func sum() throws -> (sum: [Double], spread: Double) {
      var own = [Double](repeating: 0, count: target.model.count)
      var spread = 0.0
      for (_, x) in server.workerValues {
        for i in own.indices {
          own[i] += Double(x[i])
          spread += abs(Double(x[i]) - Double(target.model[i]))
        }
      }
      let all = try world.allGather(own + [spread])
      let sums = (0..<world.count).reduce(into: target.model.values.map { Double($0) } + [0]) { sum, rank in
        for i in sum.indices { sum[i] += all[rank * sum.count + i] }
      }
      return (Array(sums.dropLast()), sums.last ?? 0)
    }
    let before = try sum()
    let minibatches = 0..<20 * world.count
    let course = EmulatedSpeed.exponential.course(of: minibatches, target.settings)
    try server.run(minibatches, usesFloats: false, order: .listed(course.order)) { _, _, _, gradient, _ in
      gradient.clear()
      return 1
    }
    let after = try sum()
    for i in before.sum.indices { #expect(abs(after.sum[i] - before.sum[i]) < 1e-4, "value \(i)") }
    #expect(after.spread < 0.9 * before.spread || !target.codec.isIdentity, "\(before.spread) to \(after.spread)")
  }

  /// f = ½x², K workers: Kα = 0.9 is stable, and beyond it two workers at Kα = 1.5 with ηh = 1 are not (algorithms §8).
  @Test(.enabled(if: allRanks.count == 1, "one rank is all workers")) func theBoundOfStabilityHolds() throws {
    for (workers, sum, step, converges) in [
      (2, 0.9, 1, true), (8, 0.9, 1, true), (4, 0.9, 0.1, true), (2, 1.5, 1, false), (8, 2.8, 0.5, false),
    ] as [(Int, Float, Float, Bool)] {
      let centre = FloatBuffer(count: 1)
      centre[0] = 1
      let server = try ParameterServer(
        hosts, layout: TensorLayout([("w", [1])]), parameters: centre, codec: Identity(),
        settings: settings(workers, alpha: sum / Float(workers)), step: { _, x, gradient, _, _ in x[0] -= step * gradient[0] },
        update: { _, _, _, _, _ in })
      let minibatches = 0..<400 * workers
      let course = EmulatedSpeed.roundRobin.course(of: minibatches, settings(workers, alpha: sum / Float(workers)))
      try server.run(minibatches, usesFloats: true, order: .listed(course.order)) { _, _, x, gradient, _ in
        gradient[0] = x[0]
        return 1
      }
      #expect((abs(centre[0]) < 0.1) == converges, "\(workers) workers, \(sum), \(step): \(centre[0])")
    }
  }
}

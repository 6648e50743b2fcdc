import Buffers
import Codecs
import MPI
import PointToPoint
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Workers that push what steps of their own have changed.
@Suite(.serialized) struct LocalStepsTests {
  private let world = allRanks
  private let hosts: HostMap

  init() throws { hosts = try HostMap(world) }

  private func settings(_ workers: Int, steps: Int, _ outer: OuterStep) -> ParameterServer.Settings {
    var settings = ParameterServer.Settings(workerCount: workers)
    (settings.method, settings.minibatchesPerPush, settings.seed) = (.localSteps(outer), steps, 6)
    return settings
  }

  /// In step, with the mean of all, the outer step is Nesterov's of DiLoCo: the traces of the guide, and plain averaging.
  @Test(.enabled(if: allRanks.count == 1, "one rank is both workers")) func tracesInStepAreThoseOfTheEquations() throws {
    for (rate, momentum, expected) in [
      (0.7, 0.9, [0.5054, 1.09854542, 1.68127025, 2.17836149]), (1, 0, [0.38, 0.6878, 0.937118, 1.13906558]),
    ] as [(Float, Float, [Double])] {
      var settings = settings(2, steps: 2, OuterStep(rate: rate, momentum: momentum, weight: .mean))
      settings.bound = 0...0
      let model = FloatBuffer(count: 1)
      let server = try ParameterServer(
        hosts, layout: TensorLayout([("w", [1])]), parameters: model, codec: Identity(), settings: settings,
        step: { _, x, gradient, _, _ in x[0] -= 0.1 * gradient[0] }, update: { _, _, _, _, _ in })
      for (round, right) in expected.enumerated() {
        let minibatches = 4 * round..<4 * round + 4
        let course = EmulatedSpeed.roundRobin.course(of: minibatches, settings)
        try server.run(minibatches, usesFloats: false, order: .listed(course.order)) { worker, _, x, gradient, _ in
          gradient[0] = x[0] - [1, 3][worker]
          return 1
        }
        #expect(abs(Double(model[0]) - right) < 5e-7, "\(rate) \(round): \(model[0]) \(right)")
      }
    }
  }

  /// A single step with an outer rate and a weight of 1 is asynchronous descent, up to the rounding of b − (b − ηg).
  @Test(.enabled(if: allRanks.count == 1, "one rank is all workers")) func oneStepIsAsynchronousDescent() throws {
    for workers in [1, 3, 8] {
      let outer = OuterStep(rate: 1, momentum: 0, weight: .one)
      let local = TargetModel(settings(workers, steps: 1, outer))
      var plainSettings = ParameterServer.Settings(workerCount: workers)
      plainSettings.seed = 6
      let plain = TargetModel(plainSettings)
      let (found, right) = (
        try local.train(local.server(hosts), [0..<80]), try plain.train(plain.server(hosts), [0..<80])
      )
      for i in found.indices { #expect(abs(found[i] - right[i]) < 2e-6, "\(workers) \(i)") }
    }
  }

  /// Weights by hand: K = 4, τ = 3.
  @Test func weightsAreThoseOfTheFormulas() {
    #expect(OuterStep.Weight.stale.value(staleness: 3, workerCount: 4) == 0.25)
    #expect(OuterStep.Weight.stale.value(staleness: 0, workerCount: 4) == 0.5)
    #expect(OuterStep.Weight.root.value(staleness: 3, workerCount: 4) == 0.5)
    #expect(OuterStep.Weight.mean.value(staleness: 3, workerCount: 4) == 0.25)
    #expect(OuterStep.Weight.one.value(staleness: 3, workerCount: 4) == 1)
  }

  /// A change counts by its own staleness, and momentum moves with every K-th push, and not before: by hand, with changes of 1.
  @Test(.enabled(if: allRanks.count == 1, "one rank is both workers")) func momentumMovesWhenAllHavePushed() throws {
    let model = FloatBuffer(count: 1)
    let settings = settings(2, steps: 1, OuterStep(rate: 0.5, momentum: 0.5, weight: .stale))
    let server = try ParameterServer(
      hosts, layout: TensorLayout([("w", [1])]), parameters: model, codec: Identity(), settings: settings,
      step: { _, x, gradient, _, _ in x[0] -= gradient[0] }, update: { _, _, _, _, _ in })
    var seen: [[Float]] = [[], []]
    try server.run(0..<4, usesFloats: false, order: .listed([0, 1, 0, 1, -1, -2])) { worker, _, x, gradient, _ in
      seen[worker].append(x[0])
      gradient[0] = 1
      return 1
    }
    // Staleness 0, 1, 1, 1: p is 1/√2, then 1/2. v after two pushes is their sum, after four half of it and the sum of those.
    let (first, half) = (0.5.squareRoot(), 0.5)
    let v = first + half
    let steps = [0.5 * first, 0.5 * half + 0.25 * v, 0.5 * half, 0.5 * half + 0.25 * (0.5 * v + 2 * half)]
    #expect(abs(Double(model[0]) + steps.reduce(0, +)) < 1e-6, "\(model[0])")
    // Worker 0 went on after its first push, worker 1 after its own, which moved the momentum.
    #expect(seen[0][0] == 0 && seen[1][0] == 0)
    #expect(abs(Double(seen[0][1]) + steps[0]) < 1e-6 && abs(Double(seen[1][1]) + steps[0] + steps[1]) < 1e-6, "\(seen)")
  }
}

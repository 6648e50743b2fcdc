import Buffers
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// What a run leaves behind of its gradients, as its state shows it.
@Suite(.serialized) struct ResidualRunTests {
  private func tensor(_ name: String, of trainer: TrainingRun) -> UnsafeMutableBufferPointer<Float>? {
    var state = StateInventory()
    trainer.strategy.contribute(to: &state)
    return state.tensor(name)?.values
  }

  /// One stream has one residual: what a phase of several bits leaves behind is what the next phase begins with, and the codec after it.
  ///
  /// At the rate 0 every step has the gradient of the same samples and model, so that what has arrived can be known: with momentum 0.5
  /// the momenta hold half of it, and half of half of that before.
  @Test(.ranks(atLeast: 2)) func whatPhasesOfBitsLeaveBehindComesLater() throws {
    let trainer = try TrainingRun(
      options {
        ($0.minibatch, $0.momentum) = (330, 0.5)
        $0.warmStart = .bits([.init(bits: 8, steps: 2), .init(bits: 2, steps: 2)])
      }, on: world, isSilent: true)
    let run = try PlainRun(options { $0.minibatch = 330 })
    try run.computeGradient(of: run.samples(of: 0), among: 330)
    let count = run.gradient.count
    var before = [Double](repeating: 0, count: count)
    var arrived = [Double](repeating: 0, count: count)
    for step in 0..<7 {
      _ = try trainer.strategy.step(step, from: trainer.loader, rate: 0, isMeasured: false)
      let momentum = try #require(tensor("momentum", of: trainer))
      for i in 0..<count {
        arrived[i] += Double(momentum[i]) - 0.5 * before[i]
        before[i] = Double(momentum[i])
      }
      // What has not arrived is with the ranks and the owners.
      var behind = [Double](repeating: 0, count: count)
      var state = StateInventory()
      trainer.strategy.contribute(to: &state)
      let residual = try #require(tensor("residual", of: trainer))
      let owner = try #require(tensor("ownerResidual", of: trainer))
      var owned = [Float](repeating: 0, count: count)
      guard case .owned(let ranges)? = state.tensor("ownerResidual")?.placement else { preconditionFailure("no owner") }
      for (offset, index) in ranges.joined().enumerated() { owned[index] = owner[offset] }
      let all = try world.allGather(Array(residual)) + world.allGather(owned)
      for (place, value) in all.enumerated() { behind[place % count] += Double(value) }
      #expect(behind.contains { $0 != 0 })
      for i in 0..<count {
        let sent = Double(step + 1) * Double(run.gradient[i])
        #expect(abs(arrived[i] + behind[i] - sent) < 1e-5, "step \(step), value \(i)")
      }
    }
    try world.barrier()
  }

  /// Lets a run on one rank take over residuals that two had of their contributions and, as owners, of the sums.
  private func inherit(_ trainer: TrainingRun, _ residuals: (Int) -> (Float, Float)) throws {
    var state = StateInventory()
    trainer.strategy.prepareToLoad(&state, savedBy: 2)
    let (contributions, sums) = (try #require(state.tensor("residual")), try #require(state.tensor("ownerResidual")))
    for i in contributions.values.indices { (contributions.values[i], sums.values[i]) = residuals(i) }
    try trainer.strategy.place()
  }

  /// What owners had left behind is in units of x ⊘ s; as a part of a gradient it is s times as much (algorithms §1.7 b).
  @Test(.enabled(if: World.count == 1, "one rank takes over what several had")) func whatOwnersOfAdaGradLeftBehindIsAGradient()
    throws
  {
    func model(ownersPart: Bool) throws -> [Float] {
      let trainer = try TrainingRun(
        options { ($0.optimizer, $0.momentum) = ("adagrad:epsilon=1e-6", 0) }, on: world, isSilent: true)
      for step in 0..<3 { _ = try trainer.strategy.step(step, from: trainer.loader, rate: 0.01, isMeasured: false) }
      let squares = try #require(tensor("ownerAdaGrad", of: trainer))
      try inherit(trainer) { i in
        let remainder = Float(i % 7 - 3) * 0.25
        return ownersPart ? (0, remainder) : (remainder * (squares[i] + 1e-6).squareRoot(), 0)
      }
      _ = try trainer.strategy.step(3, from: trainer.loader, rate: 0.01, isMeasured: false)
      return Array(trainer.parameters.values)
    }
    let (found, expected) = (try model(ownersPart: true), try model(ownersPart: false))
    let far = farthest(found, expected)
    #expect(far.distance < 1e-6, "value \(far.place)")
  }

  /// What several ranks had left behind goes into the next gradient that counts, once, and none of it is lost with a skipped step.
  @Test(.enabled(if: World.count == 1, "one rank takes over what several had"), arguments: ["all-reduce", "double-buffer"])
  func whatIsCarriedOverComesOnce(_ strategy: String) throws {
    let run = options { ($0.strategy, $0.momentum, $0.injectNonFinite) = (strategy, 0, "0:0") }
    func models(carrying isCarrying: Bool) throws -> [[Float]] {
      let trainer = try TrainingRun(run, on: world, isSilent: true)
      if isCarrying {
        try inherit(trainer) { i in (Float(i % 5) * 0.25, Float(i % 3) * 0.5) }
      }
      return try (0..<4).map { step in
        // What comes after the first step that counts is not seen, at the rate 0.
        _ = try trainer.strategy.step(step, from: trainer.loader, rate: step == 1 ? 0.125 : 0, isMeasured: false)
        if step == 3 { _ = try trainer.strategy.drain() }
        return Array(trainer.parameters.values)
      }
    }
    let (with, without) = (try models(carrying: true), try models(carrying: false))
    #expect(with[0] == without[0])
    for i in with[3].indices {
      let carried = 0.125 * (Double(i % 5) * 0.25 + Double(i % 3) * 0.5)
      #expect(abs(Double(without[3][i] - with[3][i]) - carried) < 1e-5, "value \(i)")
    }
  }

  /// What is said of residuals is said of those of all ranks, before the step.
  @Test(.ranks(atLeast: 2)) func theRatioIsThatOfAllResidualsToAllGradients() throws {
    let trainer = try TrainingRun(options { $0.minibatch = 330 }, on: world, isSilent: true)
    let run = try PlainRun(options { $0.minibatch = 330 })
    func squares(_ values: UnsafeMutableBufferPointer<Float>) -> Double { values.reduce(0) { $0 + Double($1) * Double($1) } }
    for step in 0..<3 {
      let samples = run.samples(of: step)
      let own = Partition(count: samples.count, into: world.count)[world.rank]
      try run.computeGradient(of: samples[own], among: samples.count)
      let gradients = try world.allReduce(squares(run.gradient.values), .sum)
      let residuals = try world.allReduce(squares(try #require(tensor("residual", of: trainer))), .sum)
      let outcome = try trainer.strategy.step(step, from: trainer.loader, rate: 0, isMeasured: true)
      #expect(abs(outcome.residualRatio - (residuals / gradients).squareRoot()) < 1e-5)
      #expect((outcome.residualRatio > 0.1) == (step > 0))
    }
    try world.barrier()
  }
}

import Buffers
import Collectives
import Foundation
import MPI
import Networks
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Whole runs with Adam, on as many ranks as the tests have.
@Suite(.serialized) struct AdamRunTests {
  private func adam(_ optimizer: String = "adam", _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.optimizer, $0.learningRate) = (optimizer, 0.005)
      change(&$0)
    }
  }

  /// Without a rate a run has that of its optimizer.
  @Test(.ranks(atMost: 2), arguments: ["adam", "adamw", "sgd"]) func theUsualRateIsThatOfTheOptimizer(_ optimizer: String)
    throws
  {
    func hash(_ rate: Double?) throws -> UInt64 {
      try train(
        options {
          ($0.optimizer, $0.steps) = (optimizer, 3)
          if let rate { $0.learningRate = rate }
        }
      ).modelHash
    }
    let (usual, other) = optimizer == "sgd" ? (0.1, 0.001) : (0.001, 0.1)
    let found = try hash(nil)
    #expect(try hash(usual) == found)
    #expect(try hash(other) != found)
  }

  /// AdamW with ε = 10⁻³ and a decay of matrices in fp64 but for the gradients; with two parts a step it is delayed by one part.
  private func reference(_ options: TrainerOptions, parts: Int) throws -> [Double] {
    let run = try PlainRun(options)
    var w = run.weights.values.map(Double.init)
    var (m, v) = ([Double](repeating: 0, count: w.count), [Double](repeating: 0, count: w.count))
    let decay = run.network.layout.tensors.flatMap { tensor in
      [Double](repeating: tensor.shape.count > 1 ? options.weightDecay : 0, count: tensor.count)
    }
    var t = 0.0
    var waiting: (gradient: [Double], rate: Double, share: Double)?
    func applyWaiting() {
      guard let (gradient, rate, share) = waiting else { return }
      let (beta1, beta2) = (pow(0.9, share), pow(0.999, share))
      t += share
      for i in w.indices {
        let g = gradient[i] / share
        m[i] = beta1 * m[i] + (1 - beta1) * g
        v[i] = beta2 * v[i] + (1 - beta2) * g * g
        let move = m[i] / (1 - pow(0.9, t)) / ((v[i] / (1 - pow(0.999, t))).squareRoot() + 1e-3)
        w[i] -= rate * share * (move + decay[i] * w[i])
        run.weights[i] = Float(w[i])
      }
      waiting = nil
    }
    for step in run.steps {
      let samples = run.samples(of: step)
      for part in 0..<parts {
        let half = (samples.count + 1) / 2
        let own = parts == 1 ? samples[...] : part == 0 ? samples[..<half] : samples[half...]
        guard !own.isEmpty else { continue }
        if parts == 1 { applyWaiting() }
        try run.computeGradient(of: own, among: samples.count)
        if parts == 2 { applyWaiting() }
        waiting = (
          run.gradient.values.map(Double.init), Double(run.rate(of: step)), Double(own.count) / Double(samples.count)
        )
      }
    }
    applyWaiting()
    return w
  }

  /// The last minibatch of an epoch has 30 samples.
  @Test(.ranks(atMost: 4), arguments: [("all-reduce", 1), ("double-buffer", 2)])
  func runsFollowTheFormula(strategy: String, parts: Int) throws {
    let options = adam("adamw:epsilon=1e-3") {
      ($0.strategy, $0.codec, $0.weightDecay, $0.steps, $0.minibatch) = (strategy, "none", 0.5, 10, 49)
    }
    let expected = try reference(options, parts: parts)
    let found = try trainedModel(options).values
    let start = try PlainRun(options).weights
    let far = farthest(found, expected)
    #expect(far.distance < 2e-5, "value \(far.place)")
    #expect(zip(start.values, expected).map { abs(Double($0) - $1) }.max()! > 1e-2)
  }

  @Test(
    .ranks(atMost: 4),
    arguments: pairs(["adam", "adamw:decay=all,correct=false"], ["all-reduce", "double-buffer"]).dealt(to: [2, 3, 4]))
  func anUnbrokenRunEqualsOneThatWasResumed(optimizer: String, strategy: String) throws {
    for codec in ["one-bit", "none"] {
      let options = adam(optimizer) {
        ($0.strategy, $0.codec, $0.warmStart, $0.weightDecay) = (strategy, codec, 4, 0.01)
        if codec == "none" { $0.clip = 0.5 }
      }
      let whole = try train(options)
      // In the warm start, at its end, and after it.
      for steps in [3, 4, 9] {
        let resumed = try trainBrokenOff(after: steps, options)
        #expect(resumed.modelHash == whole.modelHash, "\(codec) after \(steps) steps")
      }
    }
  }

  @Test(arguments: ["all-reduce", "double-buffer"]) func neitherTimingNorTransportChangesABit(strategy: String) throws {
    var hashes: Set<UInt64> = []
    for overlap in [Overlap.off, .inline, .thread] {
      for transport in [Transport.auto, .messages] {
        hashes.insert(
          try train(
            adam("adamw") {
              ($0.strategy, $0.overlap, $0.transport, $0.weightDecay) = (strategy, overlap, transport, 0.01)
              $0.clip = overlap == .off ? 1e30 : nil
            }
          ).modelHash)
      }
    }
    #expect(hashes.count == 1)
    #expect(Set(try world.allGather(Array(hashes))).count == 1)
  }

  /// Both moments and their steps.
  private func moments(_ trainer: TrainingRun) throws -> [UInt64] {
    let state = StateInventory(of: trainer.strategy)
    return try ["momentum", "squares"].map { XXHash64.hash(UnsafeRawBufferPointer(try #require(state.tensor($0)).values)) }
      + ["momentumSteps", "squareSteps"].map { try #require(state.counters[$0].flatMap { UInt64($0) }) }
  }

  /// A replicated state is that of any rank: on another number of ranks, all have what each had.
  @Test(.ranks(atLeast: 2), arguments: pairs(["all-reduce", "double-buffer"], ["one-bit", "none"]).dealt())
  func momentsAndTheirStepsGoOnWithAnotherNumberOfRanks(strategy: String, codec: String) throws {
    let half = max(1, world.count / 2)
    let whole = adam("adam:epsilon=1e-3") { ($0.strategy, $0.codec) = (strategy, codec) }
    let expected = try trainedModel(whole).values
    for (savers, loaders) in [(world.count, half), (half, world.count), (world.count, 1), (1, world.count)] {
      let directory = try TemporaryDirectory(on: world)
      var broken = whole
      broken.checkpoint = directory.path + "/checkpoints"
      var saved = [UInt64](repeating: 0, count: 4)
      if let group = try world.split(color: world.rank < savers ? 0 : nil) {
        let trainer = try TrainingRun(broken, on: group, isSilent: true)
        trainer.lastStep = 6
        _ = try trainer.run()
        saved = try moments(trainer)
        #expect(try group.allGather(saved) == Array(repeating: saved, count: savers).flatMap { $0 })
      }
      try world.broadcast(&saved, root: 0)
      broken.resume = true
      if let group = try world.split(color: world.rank < loaders ? 0 : nil) {
        let trainer = try TrainingRun(broken, on: group, isSilent: true)
        #expect(try moments(trainer) == saved, "\(savers) to \(loaders)")
        // With floats the number of ranks changes roundings alone.
        guard codec == "none" else { continue }
        _ = try trainer.run()
        let far = farthest(trainer.parameters, expected)
        #expect(far.distance < 1e-4, "\(savers) to \(loaders), value \(far.place)")
      }
    }
    try world.barrier()
  }

  /// Where all compute everything, all moments stay equal, and go on by codes.
  @Test(arguments: ["all-reduce", "double-buffer"]) func aReplicatedStartIsThatOfOneRank(strategy: String) throws {
    let alone = try #require(try world.split(color: .some(world.rank)))
    let replicated = adam { ($0.strategy, $0.warmStart, $0.clip) = (strategy, .replicated(20), 0.5) }
    let plain = adam { ($0.codec, $0.clip) = ("none", 0.5) }
    #expect(try train(replicated).modelHash == TrainingRun(plain, on: alone, isSilent: true).run().modelHash)
    #expect(try train(adam { ($0.strategy, $0.warmStart) = (strategy, .replicated(6)) }).steps == 20)
  }

  @Test func trainingLearns() throws {
    for optimizer in ["adam", "adamw"] {
      let evaluation = try #require(
        try train(adam(optimizer) { ($0.steps, $0.warmStart, $0.learningRate) = (200, 20, 0.01) }).evaluation)
      #expect(evaluation.accuracy > 0.35, "\(optimizer): \(evaluation)")
    }
  }
}

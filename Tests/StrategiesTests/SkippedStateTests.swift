import Buffers
import Collectives
import MPI
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// A step that is skipped leaves everything that later steps rest on as it was, to the last bit.
@Suite(.serialized, .enabled(if: World.count <= 3, "a few ranks are enough")) struct SkippedStateTests {
  private func bits(_ trainer: TrainingRun) -> [String: [UInt32]] {
    var state = StateInventory()
    trainer.strategy.contribute(to: &state)
    var bits = ["model": trainer.parameters.values.map(\.bitPattern)]
    for tensor in state.tensors { bits[tensor.name] = tensor.values.map(\.bitPattern) }
    for (name, text) in state.counters where ["momentumSteps", "squareSteps"].contains(name) {
      bits[name] = text.utf8.map { UInt32($0) }
    }
    return bits
  }

  static let runs: [(strategy: String, optimizer: String, start: WarmStart)] = [
    ("all-reduce", "sgd", 0), ("all-reduce", "sgd", .bits([.init(bits: 4, steps: 9)])), ("all-reduce", "sgd", .replicated(9)),
    ("all-reduce", "adagrad", 0), ("all-reduce", "adagrad:place=partial", 0), ("all-reduce", "adagrad:place=momentum", 0),
    ("all-reduce", "adam", 0), ("all-reduce", "adamw", .replicated(9)),
    ("fetch-sgd:k=1/20,columns=1/8", "sgd", 0), ("fetch-sgd:k=1/20,columns=1/8,recovery=zero", "sgd", 0),
    ("true-top-k:k=1/20", "sgd", 0), ("local-top-k:k=1/20", "sgd", 0),
  ]

  @Test(arguments: runs, [Overlap.off, .inline, .thread])
  func aSkippedStepLeavesEverythingAsItWas(_ run: (strategy: String, optimizer: String, start: WarmStart), overlap: Overlap)
    throws
  {
    // Others than all-reduce do nothing meanwhile.
    guard overlap == .off || run.strategy == "all-reduce" else { return }
    let trainer = try TrainingRun(
      options {
        ($0.strategy, $0.optimizer, $0.warmStart) = run
        ($0.overlap, $0.transport) = (overlap, overlap == .off ? .auto : .messages)
        $0.injectNonFinite = "3:\(world.count - 1)"
      }, on: world, isSilent: true)
    for step in 0..<3 { _ = try trainer.strategy.step(step, from: trainer.loader, rate: 0.01, isMeasured: false) }
    let before = bits(trainer)
    #expect(try trainer.strategy.step(3, from: trainer.loader, rate: 0.01, isMeasured: true).isSkipped)
    let after = bits(trainer)
    #expect(before.count == after.count)
    for (name, values) in before { #expect(after[name] == values, "\(name)") }
    // The next one is done.
    #expect(try !trainer.strategy.step(4, from: trainer.loader, rate: 0.01, isMeasured: false).isSkipped)
    #expect(bits(trainer)["model"] != before["model"])
    try world.barrier()
  }

  /// With the policy `zero` a value that is not finite counts as 0, and all others as they are.
  @Test(.enabled(if: World.count == 1, "one rank alone is plain descent")) func aValueThatIsClearedIsZero() throws {
    let options = options { ($0.nonFinite, $0.injectNonFinite, $0.steps, $0.momentum) = (.zero, "1:0", 3, 0) }
    let run = try PlainRun(options)
    for step in run.steps {
      let samples = run.samples(of: step)
      try run.computeGradient(of: samples, among: samples.count)
      if step == 1 { run.gradient[0] = 0 }
      for i in 0..<run.weights.count { run.weights[i] = run.weights[i] - run.rate(of: step) * run.gradient[i] }
    }
    #expect(try train(options).modelHash == run.weights.hash())
  }
}

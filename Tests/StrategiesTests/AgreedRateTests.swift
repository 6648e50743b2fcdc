import Buffers
import Collectives
import MPI
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Machines may round a cosine differently: the learning rate of a step is that of rank 0 on all ranks.
@Suite(.serialized, .enabled(if: World.count <= 3, "a few ranks are enough")) struct AgreedRateTests {
  private func options(_ strategy: String, _ start: WarmStart) -> TrainerOptions {
    _TrainingSupport.options {
      ($0.strategy, $0.warmStart) = (strategy, start)
      if !strategy.contains(":") { $0.codec = "one-bit" }
    }
  }

  /// The model after three steps, at rates that this rank names.
  private func model(_ options: TrainerOptions, rate: (_ step: Int) -> Float) throws -> UInt64 {
    let trainer = try TrainingRun(options, on: world, isSilent: true)
    for step in 0..<3 {
      _ = try trainer.strategy.step(step, from: trainer.loader, rate: rate(step), isMeasured: step == 1)
    }
    _ = try trainer.strategy.drain()
    let hash = trainer.parameters.hash()
    try world.barrier()
    return hash
  }

  @Test(
    .ranks(atLeast: 2),
    arguments: [
      ("all-reduce", 0), ("all-reduce", 2), ("all-reduce", .replicated(2)), ("double-buffer", 0), ("double-buffer", 2),
      ("fetch-sgd:k=1/20,columns=1/8", 0), ("fetch-sgd:k=1/20,columns=1/8,recovery=zero", 0),
      ("sketched-sgd:k=1/20,columns=1/8", 0), ("true-top-k:k=1/20", 0), ("local-top-k:k=1/20", 0),
    ] as [(String, WarmStart)], [Overlap.off, .inline])
  func theRateIsThatOfRank0(_ how: (strategy: String, start: WarmStart), _ overlap: Overlap) throws {
    // Others do nothing meanwhile.
    guard overlap == .off || !how.strategy.contains(":") else { return }
    var options = options(how.strategy, how.start)
    options.overlap = overlap
    func rate(_ step: Int) -> Float { 0.0625 / Float(step + 1) }
    let expected = try model(options, rate: rate)
    // The others' rates, all different.
    #expect(try model(options) { world.rank == 0 ? rate($0) : Float(world.rank) + rate($0) } == expected)
    #expect(try model(options) { 2 * rate($0) } != expected)
    #expect(Set(try world.allGather([expected])).count == 1)
  }
}

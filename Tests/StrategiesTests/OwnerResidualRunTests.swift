import Buffers
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Whole runs with sums of their own, in which ranks and owners keep what they have not sent.
@Suite(.serialized) struct OwnerResidualRunTests {
  /// What ranks and owners of `group` have not sent.
  private func residuals(_ trainer: TrainingRun, over group: Communicator) throws -> [Double] {
    let state = StateInventory(of: trainer.strategy)
    let (residual, owned) = (try #require(state.tensor("residual")), try #require(state.tensor("ownerResidual")))
    var sums = residual.values.map { Double($0) }
    if case .owned(let ranges) = owned.placement {
      for (place, i) in ranges.joined().enumerated() { sums[i] += Double(owned.values[place]) }
    }
    try group.allReduce(&sums, .sum)
    return sums
  }

  /// On another number of ranks residuals keep their sum; a single one sends them all.
  @Test(.ranks(atLeast: 2), arguments: ["svd:rank=1", "uniform:bits=4,group=row,scales=shared"])
  func residualsGoOnWithAnotherNumberOfRanks(_ codec: String) throws {
    let half = max(1, world.count / 2)
    for (savers, loaders) in [(world.count, half), (half, world.count), (world.count, 1), (1, world.count)] {
      let directory = try TemporaryDirectory(on: world)
      var broken = options { ($0.codec, $0.checkpoint) = (codec, directory.path + "/checkpoints") }
      var saved: [Double] = []
      if let group = try world.split(color: world.rank < savers ? 0 : nil) {
        let trainer = try TrainingRun(broken, on: group, isSilent: true)
        trainer.lastStep = 6
        _ = try trainer.run()
        saved = try residuals(trainer, over: group)
        #expect(saved.contains { $0 != 0 } == (savers > 1))
      }
      broken.resume = true
      if let group = try world.split(color: world.rank < loaders ? 0 : nil) {
        let trainer = try TrainingRun(broken, on: group, isSilent: true)
        let found = try residuals(trainer, over: group)
        // Rank 0 has saved in any case.
        if world.rank < savers {
          for i in found.indices { #expect(abs(found[i] - saved[i]) < 1e-5, "\(savers) to \(loaders), value \(i)") }
        }
        _ = try trainer.run()
        if loaders == 1 { #expect(try residuals(trainer, over: group).allSatisfy { $0 == 0 }) }
      }
    }
    try world.barrier()
  }

  /// Alone, a run is that with floats, bit for bit.
  @Test(arguments: ["svd", "spectral", "uniform:bits=4,group=row,scales=shared"])
  func aSingleRankExchangesNothing(_ codec: String) throws {
    let alone = try #require(try world.split(color: .some(world.rank)))
    let hashes = try [codec, "none"].map { name in
      try TrainingRun(options { $0.codec = name }, on: alone, isSilent: true).run().modelHash
    }
    #expect(hashes[0] == hashes[1])
  }
}

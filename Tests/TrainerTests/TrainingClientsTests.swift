import MPI
import Strategies
import Testing
import Trainer
@testable import _TrainingSupport

/// Runs on samples that belong to clients.
@Suite(.serialized) struct TrainingClientsTests {
  private static func clientOptions(_ partition: String) -> TrainerOptions {
    options {
      ($0.partition, $0.clients, $0.sampled) = (partition, 40, 8)
      $0.codec = "none"
    }
  }

  /// Which samples a step has does not depend on the number of ranks.
  @Test func allRanksTogetherSeeWhatOneSees() throws {
    let options = Self.clientOptions("by-class:1")
    let together = try train(options)
    let alone = try TrainingRun(options, on: world.split(color: world.rank)!, isSilent: true).run()
    #expect(abs(together.evaluation!.loss - alone.evaluation!.loss) < 1e-4)
    let other = try train(Self.clientOptions("iid"))
    #expect(abs(together.evaluation!.loss - other.evaluation!.loss) > 1e-3)
  }

  @Test(arguments: ["iid", "by-class:2", "dirichlet:0.2"]) func aResumedRunIsTheUnbrokenOne(_ partition: String) throws {
    var options = Self.clientOptions(partition)
    options.codec = "one-bit"
    #expect(try trainBrokenOff(after: 8, options).modelHash == train(options).modelHash)
  }
}

import Buffers
import Checkpoints
import Collectives
import Foundation
import MPI
import PointToPoint
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Ranks that own no shard, because they are slow.
@Suite(.serialized) struct OwnerChoiceTests {
  @Test(.oneProcess) func slowRanksOwnNothing() {
    #expect(OwnerChoice.shares(ofSpeeds: [10, 11, 9, 2]) == [1, 1, 1, 0])
    #expect(OwnerChoice.shares(ofSpeeds: [2, 10, 10, 10, 5]) == [0, 1, 1, 1, 1])
    // No rank is slower than half of the usual one.
    #expect(OwnerChoice.shares(ofSpeeds: [10, 6, 5.5, 9]) == nil)
    #expect(OwnerChoice.shares(ofSpeeds: [4]) == nil && OwnerChoice.shares(ofSpeeds: [1, 1]) == nil)
  }

  private func settings(_ replay: String) -> TrainerOptions {
    options {
      ($0.strategy, $0.warmStart, $0.minibatch, $0.verifyEvery) = ("dc-asgd", 1, 24, 0)
      ($0.codec, $0.learningRate, $0.steps, $0.replay) = ("one-bit", 0.02, 4, replay)
    }
  }

  /// A record of two ranks, of which `owners` own shards, in an order that no clock gave.
  private func record(_ owners: [Int]?, in directory: TemporaryDirectory) throws -> String {
    func line(_ steps: Range<Int>) -> String {
      let order = steps.flatMap { $0 % 2 == 0 ? [1, 0] : [0, 1] } + [-2, -1]
      let orders = (0..<2).map { owners?.contains($0) != false ? order : [] }
      let named = owners.map { ",\"owners\":\($0)" } ?? ""
      return "{\"first\":\(2 * steps.lowerBound),\"end\":\(2 * steps.upperBound)\(named),\"orders\":\(orders)}\n"
    }
    let name = directory.path + "/events-\(owners ?? [])"
    if world.rank == 0 { try (line(0..<1) + line(1..<4)).write(toFile: name, atomically: true, encoding: .utf8) }
    try world.barrier()
    return name
  }

  /// Which rank owns what changes no bit, as codes are those of groups.
  @Test(.ranks(only: 2)) func whoOwnsChangesNoBit() throws {
    let directory = try TemporaryDirectory(on: world)
    let hashes = try [nil, [1], [0]].map { owners in
      let run = try TrainingRun(settings(record(owners, in: directory)), on: world, isSilent: true)
      let outcome = try run.run()
      // The only owner has all pushes; the other rank none.
      let pushes = run.strategy.service?.pushTimes.count
      #expect(pushes == (owners?.contains(world.rank) == false ? 0 : 6), "\(owners ?? [])")
      return outcome.modelHash
    }
    #expect(Set(hashes).count == 1)
    try world.barrier()
  }

  @Test(.ranks(atMost: 1)) func recordsNameTheirOwners() throws {
    let directory = try TemporaryDirectory(on: world)
    for (owners, orders) in [
      ("[1]", "[[0,-1],[0,-1]]"), ("[2]", "[[],[0,-1]]"), ("[]", "[[],[]]"), ("[1,0]", "[[0,-1],[0,-1]]"),
    ] {
      try "{\"first\":0,\"end\":1,\"owners\":\(owners),\"orders\":\(orders)}\n".write(
        toFile: directory.path + "/events", atomically: true, encoding: .utf8)
      #expect(throws: TrainingError.self, "\(owners)") { try EventRecord(directory.path + "/events") }
    }
  }

  /// Speeds that are given are not measured.
  @Test(.ranks(only: 2)) func emulatedSpeedsAreNotMeasured() throws {
    let run = options { ($0.strategy, $0.emulateSpeed, $0.warmStart) = ("asgd:owners=fast", .roundRobin, 0) }
    #expect(throws: OptionError.self) { try TrainingRun(run, on: world, isSilent: true) }
  }

  @Test(.ranks(atMost: 4)) func aLiveRunMeasures() throws {
    let run = options { ($0.strategy, $0.warmStart, $0.steps) = ("asgd:owners=fast", 0, 4) }
    let outcome = try TrainingRun(run, on: world, isSilent: true).run()
    #expect(outcome.modelHash != 0)
  }
}

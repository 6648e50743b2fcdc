import Buffers
import Collectives
import Datasets
import Foundation
import MPI
import Networks
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Whole runs with AdaGrad at its three places, on as many ranks as the tests have.
@Suite(.serialized) struct AdaGradRunTests {
  static let places = ["aggregate", "partial", "momentum"]

  private func scaled(
    _ place: String, keys: String = "", _ change: (inout TrainerOptions) -> Void = { _ in }
  ) -> TrainerOptions {
    options {
      $0.optimizer = "adagrad:place=\(place)\(keys)"
      $0.learningRate = 0.02
      change(&$0)
    }
  }

  /// The model that a run ends with.
  private func model(of options: TrainerOptions, on group: Communicator = world) throws -> [Float] {
    let values = try trainedModel(options, on: group).values
    return (0..<values.count).map { values[$0] }
  }

  @Test(arguments: pairs(places, ["positive", "cntk"]).dealt())
  func runsFollowTheFormula(place: String, normalization: String) throws {
    // Mean multipliers that count coordinates without gradients are large, and smoothed gradients small: the rate makes up for it.
    let isLarge = normalization == "cntk"
    let rates = place == "momentum" ? (usual: 1.0, large: 1.0) : (usual: 0.1, large: 0.3)
    for epsilon in [1e-6, 1e-3] {
      let options = scaled(place, keys: ",epsilon=\(epsilon),normalization=\(normalization)") {
        $0.codec = "none"
        $0.steps = 8
        $0.learningRate = isLarge ? rates.large : rates.usual
        if place == "momentum" { $0.weightDecay = 0.01 }
      }
      let expected = try PlainAdaGrad.train(
        options, place: place, epsilon: Double(Float(epsilon)), countsAll: isLarge, ranks: world.count)
      let found = try model(of: options)
      let start = try PlainAdaGrad.train(
        {
          var start = options; start.steps = 1; start.learningRate = 1e-30; return start
        }(), place: place, epsilon: epsilon,
        countsAll: isLarge, ranks: world.count)
      let far = farthest(found, expected)
      #expect(far.distance < 5e-5, "value \(far.place)")
      // The run has moved by much more than the tolerance.
      #expect(zip(start, expected).map { abs($0 - $1) }.max()! > 5e-3)
    }
  }

  @Test(.enabled(if: World.count == 1, "one rank owns all and has all parts"), arguments: ["none", "one-bit"])
  func onOneRankThePartIsTheSumBitForBit(codec: String) throws {
    var hashes: Set<UInt64> = []
    for place in ["aggregate", "partial"] {
      for overlap in [Overlap.off, .inline] {
        hashes.insert(try train(scaled(place) { ($0.codec, $0.overlap) = (codec, overlap) }).modelHash)
      }
    }
    #expect(hashes.count == 1)
  }

  @Test(arguments: pairs(places, ["all-reduce", "double-buffer"]).dealt())
  func neitherTimingNorTransportChangesABit(place: String, strategy: String) throws {
    var hashes: Set<UInt64> = []
    for overlap in [Overlap.off, .inline, .thread] {
      for transport in [Transport.auto, .messages] {
        hashes.insert(
          try train(
            scaled(place) {
              ($0.strategy, $0.overlap, $0.transport) = (strategy, overlap, transport)
              $0.warmStart = 5
              $0.clip = overlap == .off ? 1e30 : nil
            }
          ).modelHash)
      }
    }
    #expect(hashes.count == 1)
    #expect(Set(try world.allGather(Array(hashes))).count == 1)
  }

  /// Who owns which value is decided by the codec; the sum of multipliers must not tell.
  @Test func ownersDoNotChangeTheMeanMultiplier() throws {
    var hashes: Set<UInt64> = []
    for topology in [Topology.flat, .hierarchical] {
      hashes.insert(
        try train(
          scaled("aggregate") {
            ($0.codec, $0.topology) = ("none", topology)
          }
        ).modelHash)
    }
    #expect(hashes.count == 1)
  }

  @Test(.ranks(atMost: 4), arguments: pairs(places, ["all-reduce", "double-buffer"]).dealt(to: [2, 3, 4]))
  func anUnbrokenRunEqualsOneThatWasResumed(place: String, strategy: String) throws {
    for codec in ["one-bit", "none"] {
      let options = scaled(place) { ($0.strategy, $0.codec, $0.warmStart) = (strategy, codec, 4) }
      let whole = try train(options)
      // In the warm start, at its end, and after it.
      for steps in [3, 4, 9] {
        let resumed = try trainBrokenOff(after: steps, options)
        #expect(resumed.modelHash == whole.modelHash, "\(codec) after \(steps) steps")
      }
    }
  }

  @Test(arguments: pairs(places, ["all-reduce", "double-buffer"]).dealt())
  func aSkippedStepLeavesNoTrace(place: String, strategy: String) throws {
    var hashes: Set<UInt64> = []
    for overlap in [Overlap.off, .inline, .thread] {
      let skipped = scaled(place) {
        ($0.strategy, $0.overlap) = (strategy, overlap)
        $0.injectNonFinite = "6:\(World.count - 1)"
      }
      hashes.insert(try train(skipped).modelHash)
    }
    #expect(hashes.count == 1)
    // A first step that is skipped leaves a run that begins with the second: same state, same later steps.
    guard strategy == "all-reduce" else { return }
    let resumed = try trainBrokenOff(
      after: 1, scaled(place) { ($0.overlap, $0.injectNonFinite) = (.inline, "0:0") })
    #expect(resumed.modelHash == (try train(scaled(place) { $0.injectNonFinite = "0:0" })).modelHash)
  }

  /// With floats the number of ranks changes sums by roundings alone, so that a run that goes on with another number ends nearly
  /// where the unbroken one ends; without its sums of squares it would not.
  @Test(.ranks(atLeast: 2), arguments: ["aggregate", "momentum"])
  func aRunGoesOnWithAnotherNumberOfRanks(place: String) throws {
    let options = scaled(place, keys: ",epsilon=1e-6") { ($0.codec, $0.steps) = ("none", 12) }
    let expected = try model(of: options)
    for (savers, loaders) in [(world.count, 1), (1, world.count), (world.count, world.count - 1)] {
      let directory = try TemporaryDirectory(on: world)
      var broken = options
      broken.checkpoint = directory.path + "/checkpoints"
      broken.checkpointEvery = 6
      if let group = try world.split(color: world.rank < savers ? 0 : nil) {
        _ = try TrainingRun(broken, on: group, isSilent: true).run()
      }
      try directory.change { try FileManager.default.removeItem(atPath: broken.checkpoint! + "/step-00000012") }
      broken.resume = true
      if let group = try world.split(color: world.rank < loaders ? 0 : nil) {
        let found = try model(of: broken, on: group)
        let far = farthest(found, expected)
        #expect(far.distance < 1e-4, "\(savers) to \(loaders), value \(far.place)")
      }
      try world.barrier()
    }
  }

  /// Each rank's own sums of squares, and what codes left behind in their units, go on with another number of ranks, too.
  @Test(.ranks(atLeast: 2), arguments: ["aggregate", "partial"])
  func codedRunsGoOnWithAnotherNumberOfRanks(place: String) throws {
    let options = scaled(place) { ($0.steps, $0.learningRate) = (60, 0.05) }
    let whole = try #require(try train(options).evaluation)
    for loaders in Set([1, world.count - 1]) {
      let directory = try TemporaryDirectory(on: world)
      var broken = options
      broken.checkpoint = directory.path + "/checkpoints"
      broken.checkpointEvery = 30
      _ = try train(broken)
      try directory.change { try FileManager.default.removeItem(atPath: broken.checkpoint! + "/step-00000060") }
      broken.resume = true
      if let group = try world.split(color: world.rank < loaders ? 0 : nil) {
        let evaluation = try #require(try TrainingRun(broken, on: group, isSilent: true).run().evaluation)
        #expect(evaluation.loss < whole.loss * 1.5, "\(loaders) ranks: \(evaluation) after \(whole)")
      }
      try world.barrier()
    }
  }

  @Test(arguments: places.dealt())
  func trainingLearns(place: String) throws {
    let options = scaled(place) {
      ($0.steps, $0.warmStart) = (200, 20)
      $0.learningRate = place == "momentum" ? 0.5 : 0.05
    }
    let evaluation = try #require(try train(options).evaluation)
    #expect(evaluation.accuracy > 0.35, "\(place): \(evaluation)")
  }
}

import Collectives
import MPI
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// `--strategy` says when ranks exchange, `--codec` what they make of it: any of one goes with any of the other.
@Suite(.serialized) struct DelayedChangeTests {
  static let sparse = [
    "fetch-sgd:k=1/20,columns=1/8", "fetch-sgd:k=1/20,columns=1/6,recovery=zero,window=2",
    "fetch-sgd:k=1/20,columns=1/6,recovery=subtract", "sketched-sgd:k=1/20,columns=1/8", "true-top-k:k=1/20", "top-k:k=1/20",
  ]

  private func options(_ codec: String, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    _TrainingSupport.options {
      ($0.strategy, $0.codec, $0.learningRate, $0.warmStart) = ("double-buffer", codec, 0.02, nil)
      change(&$0)
    }
  }

  /// Neither who drives exchanges nor how messages travel changes a bit, and nor does a resume while one is under way.
  @Test(arguments: sparse.dealt()) func delayedChangesRepeatAndResume(_ codec: String) throws {
    let expected = try train(options(codec)).modelHash
    for overlap in [Overlap.inline, .thread] {
      for transport in world.count > 1 ? [Transport.auto, .messages] : [] {
        #expect(try train(options(codec) { ($0.overlap, $0.transport) = (overlap, transport) }).modelHash == expected)
      }
    }
    for step in [4, 7] {
      #expect(try trainBrokenOff(after: step, options(codec)).modelHash == expected, "after \(step)")
    }
    try world.barrier()
  }

  /// With all values and no momentum a delayed change is delayed descent, bit for bit on one rank.
  @Test(.enabled(if: World.count == 1, "one rank adds nothing up"), arguments: ["true-top-k:k=1/1", "top-k:k=1/1"])
  func aChangeOfAllValuesIsDescent(_ codec: String) throws {
    let descent = try train(options("none") { $0.momentum = 0 }).modelHash
    #expect(try train(options(codec) { $0.momentum = 0 }).modelHash == descent)
    #expect(try train(options(codec) { ($0.momentum, $0.strategy) = (0, "all-reduce") }).modelHash != descent)
  }

  /// λw is part of the gradient once, in two halves.
  @Test(.enabled(if: World.count == 1, "one rank adds nothing up")) func weightDecayIsThatOfHalves() throws {
    let descent = try train(options("none") { ($0.momentum, $0.weightDecay) = (0, 0.5) })
    let changes = try train(options("true-top-k:k=1/1") { ($0.momentum, $0.weightDecay) = (0, 0.5) })
    #expect(abs(changes.evaluation!.loss - descent.evaluation!.loss) < 1e-4)
    #expect(try abs(train(options("none") { $0.momentum = 0 }).evaluation!.loss - descent.evaluation!.loss) > 1e-3)
  }

  /// Sketches that would be no smaller than the values are the values: then clipping is that of a gradient.
  private static let exact = "fetch-sgd:k=1/1,columns=1/1,recovery=subtract"

  @Test(.enabled(if: World.count == 1, "one rank adds nothing up")) func eachHalfIsClippedToItsShareOfTheNorm() throws {
    func run(_ codec: String, _ clip: Double) throws -> Double {
      try train(options(codec) { ($0.momentum, $0.learningRate, $0.clip) = (0, 0.5, clip) }).evaluation!.loss
    }
    let descent = try run("none", 0.1)
    #expect(try abs(run(Self.exact, 0.1) - descent) < 1e-4)
    #expect(try abs(run(Self.exact, 0.2) - descent) > 1e-3)
  }

  @Test(.enabled(if: World.count % 2 == 0, "two slices of a model")) func slicesAreClippedByTheNormOfTheWholeModel() throws {
    func run(_ codec: String, _ clip: Double) throws -> Double {
      try train(options(codec) { ($0.strategy, $0.momentum, $0.clip, $0.modelParallel) = ("all-reduce", 0, clip, 2) })
        .evaluation!.loss
    }
    let descent = try run("none", 0.1)
    #expect(try abs(run(Self.exact, 0.1) - descent) < 1e-4)
    #expect(try abs(run(Self.exact, 0.2) - descent) > 1e-3)
  }

  @Test(arguments: [("local-top-k:k=1/20", "top-k:k=1/20"), ("fetch-sgd:k=1/20,columns=1/8", "fetch-sgd:k=1/20,columns=1/8")])
  func shortFormsAreWhatTheyStandFor(_ strategy: String, _ codec: String) throws {
    let long = try train(options(codec) { $0.strategy = "all-reduce" }).modelHash
    #expect(try train(options("one-bit") { $0.strategy = strategy }).modelHash == long)
  }

  @Test func whatAnAggregationCannotDoIsRefusedByName() {
    let faults: [((inout TrainerOptions) -> Void, String)] = [
      ({ $0.topology = .hierarchical }, "--topology hierarchical does not go with --codec top-k"),
      ({ $0.clip = 1 }, "--clip does not go with --codec top-k"),
      ({ $0.optimizer = "adagrad" }, "--optimizer adagrad does not go with --codec top-k"),
      ({ $0.warmStart = 3 }, "--warm-start does not go with --codec top-k"),
      ({ $0.tuneRate = "search" }, "--tune-rate does not go with --codec top-k"),
      ({ ($0.strategy, $0.overlap) = ("all-reduce", .thread) }, "--overlap thread does not go with --codec top-k"),
      ({ $0.strategy = "fetch-sgd" }, "--codec top-k:k=1/20 does not go with --strategy fetch-sgd"),
    ]
    for (change, words) in faults {
      let error = #expect(throws: OptionError.self) { try Recipe(options("top-k:k=1/20", change)) }
      #expect(error?.description.contains(words) == true, "\(error?.description ?? "nothing")")
    }
    #expect(throws: Never.self) { try Recipe(options("fetch-sgd:recovery=zero") { $0.clip = 1 }) }
  }
}

import Collectives
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Runs by lazily aggregated gradients.
@Suite(.serialized, .ranks(atMost: 4)) struct LazyRunTests {
  private static func lazy(_ codec: String, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.codec, $0.model, $0.momentum, $0.schedule, $0.learningRate) = (codec, "softmax", 0, "constant", 0.1)
      change(&$0)
    }
  }

  /// All samples in every step, each rank's the same.
  private static func steady(_ codec: String, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    lazy(codec) {
      ($0.data, $0.minibatch, $0.clients) = ("glyphs:train=240,test=60", 240, world.count)
      change(&$0)
    }
  }

  private func uploads(_ lines: [[String: Any]]) throws -> [Int] {
    let end = try #require(lines.last { $0["event"] as? String == "end" })
    if world.count == 1 { #expect(end["uploads"] == nil) }
    return end["uploads"] as? [Int] ?? []
  }

  /// A rule that misses no change is an all-reduce of floats, bit for bit; of two gradients that of the model counts.
  @Test(arguments: ["lazy:xi=0", "lazy:rule=same-minibatch,xi=0", "lazy:rule=server,xi=0"])
  func withoutWeightItIsAnAllReduce(_ codec: String) throws {
    let expected = try train(Self.lazy("none")).modelHash
    let (outcome, lines) = try metrics(Self.lazy(codec))
    #expect(outcome.modelHash == expected)
    if world.count > 1 { #expect(try uploads(lines) == Array(repeating: 20, count: world.count)) }
    #expect(try train(Self.lazy(codec) { $0.transport = .messages }).modelHash == expected)
  }

  /// With the same samples in every step most uploads are saved, and the loss falls as well.
  @Test(
    .ranks(atLeast: 2),
    arguments: ["lazy:start=1", "lazy:rule=server,start=1,xi=0.3", "lazy:bits=8,start=1"])
  func uploadsAreSaved(_ codec: String) throws {
    func run(_ codec: String) throws -> (loss: Double, lines: [[String: Any]]) {
      let (outcome, lines) = try metrics(Self.steady(codec) { ($0.steps, $0.partition) = (40, "by-class:5") })
      return (try #require(outcome.evaluation).loss, lines)
    }
    let (plain, lazy) = (try run("none").loss, try run(codec))
    let uploads = try uploads(lazy.lines)
    #expect(lazy.loss < plain + 0.05, "\(lazy.loss) after \(plain)")
    #expect(uploads.reduce(0, +) < 32 * world.count && uploads.allSatisfy { $0 > 1 }, "\(uploads)")
  }

  /// Minibatches: gradients of other samples are always news, those of the same samples at a model nearby are not.
  @Test(.ranks(atLeast: 2)) func minibatchesAreComparedWithThemselves() throws {
    func share(_ codec: String) throws -> Double {
      let (_, lines) = try metrics(Self.lazy(codec) { ($0.learningRate, $0.steps) = (0.01, 30) })
      return Double(try uploads(lines).reduce(0, +)) / Double(30 * world.count)
    }
    let (worker, same) = (try share("lazy:start=1"), try share("lazy:rule=same-minibatch,start=1"))
    #expect(worker > 0.9 && same < 0.7 && same > 1.1 / 30, "\(worker) and \(same)")
  }

  @Test(arguments: [
    "lazy:start=3", "lazy:rule=server,start=1", "lazy:bits=4,start=1,max-silence=6", "lazy:rule=same-minibatch,start=1",
  ])
  func runsRepeatAndResume(_ codec: String) throws {
    let options = Self.steady(codec) { ($0.weightDecay, $0.schedule) = (0.001, "cosine") }
    let hash = try train(options).modelHash
    #expect(try train(options).modelHash == hash)
    let resumed = try brokenOff(after: 8, options)
    #expect(resumed.outcome.modelHash == hash)
    #expect(try uploads(resumed.lines) == uploads(try metrics(options).lines))
  }

  /// On another number of ranks all upload anew, as at the start.
  @Test(.ranks(atLeast: 2), arguments: ["lazy:start=1", "lazy:rule=same-minibatch,start=1"])
  func aRunGoesOnWithAnotherNumberOfRanks(_ codec: String) throws {
    for (savers, loaders) in [(world.count, world.count - 1), (1, world.count)] {
      let directory = try TemporaryDirectory(on: world)
      func run(_ count: Int, _ change: (inout TrainerOptions) -> Void) throws -> TrainingOutcome? {
        var options = Self.lazy(codec)
        options.checkpoint = directory.path + "/checkpoints"
        change(&options)
        guard let group = try world.split(color: world.rank < count ? 0 : nil) else {
          try world.barrier()
          return nil
        }
        defer { try? world.barrier() }
        return try TrainingRun(options, on: group, isSilent: true).run()
      }
      _ = try run(savers) { $0.steps = 8 }
      let resumed = try run(loaders) { $0.resume = true }
      if let loss = resumed?.evaluation?.loss { #expect(loss < 2.2, "\(savers) and \(loaders) ranks: \(loss)") }
    }
  }

  @Test(.oneProcess) func whatCannotBeIsRefused() {
    let cases: [((inout TrainerOptions) -> Void, String)] = [
      (
        { $0.momentum = 0.9 },
        "--momentum 0.9 does not go with --codec lazy, whose rule holds for steps of the rate times the sum"
      ),
      ({ ($0.momentum, $0.optimizer) = (0.9, "adam") }, "--optimizer adam does not go with --codec lazy"),
      (
        { ($0.momentum, $0.optimizer) = (0.9, "sgd:time-constant=100") },
        "--optimizer sgd:time-constant=100 does not go with --codec lazy"
      ),
      ({ $0.clip = 1 }, "--clip does not go with --codec lazy"),
      ({ $0.strategy = "double-buffer" }, "--strategy double-buffer does not go with --codec lazy"),
      ({ $0.strategy = "asgd" }, "--codec lazy does not go with --strategy asgd"),
      ({ $0.warmStart = 3 }, "--warm-start does not go with --codec lazy"),
      ({ $0.tuneRate = "search" }, "--tune-rate does not go with --codec lazy"),
      ({ $0.topology = .hierarchical }, "--topology hierarchical does not go with --codec lazy"),
    ]
    for (change, sentence) in cases {
      let options = Self.lazy("lazy", change)
      #expect { try Recipe(options) } throws: { "\($0)".contains(sentence) }
    }
  }

  /// A model that keeps statistics of what it sees cannot be looked at twice.
  @Test func statisticsAndASecondGradientAreRefused() throws {
    let options = Self.lazy("lazy:rule=same-minibatch") { $0.model = "mlp:9,norm=batch" }
    #expect { _ = try train(options) } throws: { "\($0)".contains("running statistics do not go with --codec") }
    #expect { _ = try train(Self.lazy("lazy:rule=server,smoothness=1+2+3+4+5")) } throws: {
      "\($0)".contains("smoothness has 5 numbers for")
    }
  }
}

import Foundation
import MPI
import Reporting
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Whole runs that tune themselves, of a small model, on as many ranks as the tests have.
@Suite(.serialized) struct TuningTests {
  /// Twenty steps to an epoch.
  private func options(_ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    var options = TrainerOptions()
    options.model = "mlp:24,16"
    options.data = "glyphs:train=1280,test=70"
    options.minibatch = 64
    options.epochs = 4
    options.schedule = "constant"
    options.learningRate = 0.05
    options.warmStart = 10
    options.verifyEvery = 7
    options.logEvery = 1
    options.quiet = true
    change(&options)
    return options
  }

  private func events(_ name: String, in lines: [[String: Any]]) -> [[String: Any]] {
    lines.filter { $0["event"] as? String == name }
  }

  @Test(arguments: pairs(["one-bit", "none"], ["all-reduce", "double-buffer"]).dealt())
  func searchesThatChangeNothingLeaveNoTrace(codec: String, strategy: String) throws {
    let plain = options {
      $0.codec = codec
      $0.strategy = strategy
      $0.epochs = 3
    }
    let expected = try metrics(plain)
    // One size alone; several, of which none is so much better.
    for (search, trials) in [("search:max=64", 0), ("search:max=400,margin=-100", 2)] {
      var searching = plain
      searching.tuneMinibatch = search
      let result = try metrics(searching)
      #expect(result.outcome == expected.outcome)
      let decisions = events("tuning", in: result.lines)
      #expect(decisions.compactMap { ($0["trials"] as? [Any])?.count } == [trials, trials, trials])
      #expect(decisions.allSatisfy { $0["before"] as? Int == 64 && $0["after"] as? Int == 64 })
      for event in ["step", "epoch"] {
        let (here, there) = (events(event, in: result.lines), events(event, in: expected.lines))
        #expect(here.map { $0 as NSDictionary } == there.map { $0 as NSDictionary })
      }
      func wire(_ lines: [[String: Any]]) -> NSDictionary? { lines.last?["wire"] as? NSDictionary }
      #expect(wire(result.lines) == wire(expected.lines))
      // What trials sent is told apart.
      let sent = try #require((result.lines.last?["trials"] as? [String: Any])?["bytesSent"] as? [Int])
      #expect(sent.allSatisfy { ($0 > 0) == (trials > 0 && world.count > 1) })
    }
  }

  @Test(.ranks(atLeast: 2))
  func modelsInSlicesAreTunedAlike() throws {
    guard world.count % 2 == 0 else { return }
    let plain = options {
      $0.modelParallel = 2
      $0.codec = "none"
      $0.epochs = 3
    }
    let expected = try metrics(plain)
    var tuned = plain
    tuned.tuneMinibatch = "search:max=400,margin=-100"
    let result = try metrics(tuned)
    #expect(result.outcome == expected.outcome)
    #expect(result.lines.last?["wire"] as? NSDictionary == expected.lines.last?["wire"] as? NSDictionary)
    tuned.tuneRate = "after-epoch:improve=100"
    tuned.checkpoint = try TemporaryDirectory(on: world).path
    #expect(try metrics(tuned).outcome.steps == 60)
  }

  @Test func theMinibatchGrowsAndEverySampleIsSeen() throws {
    let (outcome, lines) = try metrics(options { $0.tuneMinibatch = "search:margin=1000,max=128" })
    let decisions = events("tuning", in: lines)
    #expect(decisions.map { $0["after"] as? Int } == [128, 128, 128, 128])
    #expect(outcome.steps == 40 && outcome.wasStopped == false)
    let steps = events("step", in: lines)
    #expect(steps.map { $0["samples"] as? Int } == (1...40).map { $0 * 128 })
    // The rate of a sample stays.
    #expect(steps.allSatisfy { $0["learningRate"] as? Double == 0.1 })
    #expect(try Set(world.allGather([outcome.modelHash])).count == 1)
  }

  @Test func theSearchStopsWhereALargerMinibatchHurts() throws {
    // The rate suits the minibatch that was asked for, and grows with it.
    let (outcome, lines) = try metrics(options { $0.tuneMinibatch = "search:samples=1280" })
    let trials = try #require(events("tuning", in: lines)[0]["trials"] as? [[String: Any]])
    let losses = trials.compactMap { $0["loss"] as? Double }
    #expect(trials.count == losses.count && losses.count > 1)
    for (index, loss) in losses.enumerated() {
      #expect(trials[index]["isAccepted"] as? Bool == (loss <= losses[0] * 1.01))
      #expect(loss <= losses[0] * 1.01 || index == losses.count - 1)
    }
    #expect(try #require(outcome.evaluation).loss < 2.2)
  }

  @Test(arguments: ["one-bit", "none"])
  func aTrialIsTheTrainingThatItStandsFor(codec: String) throws {
    // Each trial is of a whole epoch: that of the size that is taken has the loss that the epoch has then, to the last bit.
    let (_, lines) = try metrics(
      options {
        $0.codec = codec
        $0.optimizer = "sgd:nesterov=true"
        $0.tuneMinibatch = "search:samples=1280,margin=3"
      })
    let (decisions, epochs) = (events("tuning", in: lines), events("epoch", in: lines))
    #expect(decisions.count == 4 && epochs.count == 4)
    for (decision, epoch) in zip(decisions, epochs) {
      let trials = try #require(decision["trials"] as? [[String: Any]])
      let taken = try #require(trials.first { $0["minibatch"] as? Int == decision["after"] as? Int })
      #expect(taken["loss"] as? Double == epoch["trainLoss"] as? Double)
    }
    // The units of what is left behind have changed on the way.
    #expect(decisions.dropFirst().contains { $0["before"] as? Int != $0["after"] as? Int })
  }

  @Test func aRunThatFailsAtOnceIsLeftToItsOwnSentence() throws {
    let options = options {
      $0.learningRate = 1e30
      $0.tuneMinibatch = "search"
      $0.tuneRate = "after-epoch"
    }
    #expect { try train(options) } throws: { "\($0)".contains("10 steps in a row") }
  }

  @Test(arguments: ["after-epoch:improve=100,load-best=false", "after-epoch:improve=100"])
  func theRateFallsAfterEpochsThatGainTooLittle(control: String) throws {
    let (_, lines) = try metrics(options { $0.tuneRate = control })
    let rates = events("step", in: lines).compactMap { $0["learningRate"] as? Double }
    #expect(rates.count == 80)
    // The first epoch is compared with nothing.
    for (epoch, expected) in [0.05, 0.05, 0.05 * 0.618, 0.05 * 0.618 * 0.618].enumerated() {
      for rate in rates[epoch * 20..<(epoch + 1) * 20] { #expect(abs(rate / expected - 1) < 1e-6) }
    }
  }

  @Test func aLossThatRisesBringsTheBestStateBack() throws {
    // A rate at which the loss rises, and falls to next to nothing then: the rest of the run stays where it went back to.
    let wild = options {
      $0.learningRate = 2
      $0.momentum = 0
      $0.codec = "none"
    }
    var controlled = wild
    controlled.tuneRate = "after-epoch:reduce=0.000001"
    let (outcome, lines) = try metrics(controlled)
    let decisions = events("tuning", in: lines)
    let back = try #require(decisions.firstIndex { $0["goesBack"] as? Bool == true })
    #expect(decisions.allSatisfy { ($0["after"] as? Double ?? 9) < 1 } == (back == 0))
    // The state of the decision before, which is the start for the first.
    var shorter = wild
    shorter.steps = 20 * back
    let before = try #require(back == 0 ? nil : try train(shorter).evaluation)
    #expect(abs(try #require(outcome.evaluation).loss - before.loss) < 1e-3)
    #expect(abs((events("epoch", in: lines)[back]["testLoss"] as? Double ?? 0) - before.loss) > 0.01)
  }

  @Test func theSecondFailureEndsTheRun() throws {
    let (outcome, lines) = try metrics(
      options {
        $0.epochs = 9
        $0.tuneRate = "after-epoch:improve=100,continue=true"
      })
    // Compared after the second and the third epoch.
    #expect(outcome.steps == 60 && !outcome.wasStopped)
    #expect(events("tuning", in: lines).map { $0["endsRun"] as? Bool } == [false, false, true])
  }

  @Test func aRateThatWasSearchedIsAsGoodAsOneThatWasGiven() throws {
    let (outcome, lines) = try metrics(
      options {
        $0.epochs = 1
        $0.tuneRate = "search"
      })
    let event = events("tuning", in: lines)[0]
    let rate = try #require(event["after"] as? Double)
    let trials = try #require(event["trials"] as? [[String: Any]])
    #expect(trials.count > 5 && trials[0]["learningRate"] as? Double == 0)
    let best = trials.compactMap { $0["loss"] as? Double }.min()!
    #expect(trials.contains { $0["learningRate"] as? Double == rate && ($0["loss"] as? Double ?? 9) <= best * 1.05 })
    let given = try train(
      options {
        $0.epochs = 1
        $0.learningRate = rate
      })
    #expect(outcome.modelHash == given.modelHash)
  }

  @Test(.outsideMPI)
  func aRunThatIsStoppedInASearchSearchesAgain() async throws {
    let path = NSTemporaryDirectory() + "morse-stopped-search-\(getppid())"
    setenv("MORSE_STOPPED_SEARCH", path, 1)
    defer { try? FileManager.default.removeItem(atPath: path) }
    await #expect(processExitsWith: .success) {
      StopSignal.install()
      kill(getpid(), SIGTERM)
      for _ in 0..<500 where !StopSignal.isRequested { usleep(10_000) }
      let outcome = try train(TuningTests().stoppedInASearch)
      guard outcome.wasStopped, outcome.steps == 0 else { exit(1) }
    }
    var options = stoppedInASearch
    options.resume = true
    let resumed = try train(options)
    options.checkpoint = nil
    options.resume = false
    #expect(try train(options) == resumed && resumed.steps < 80)
  }

  /// The run of the test above, in both processes.
  private var stoppedInASearch: TrainerOptions {
    options {
      $0.tuneMinibatch = "search:margin=1000"
      $0.tuneRate = "after-epoch"
      $0.checkpoint = ProcessInfo.processInfo.environment["MORSE_STOPPED_SEARCH"]
    }
  }

  /// Runs that stop where an epoch begins, before its search, and in the middle of one.
  @Test(
    arguments: ([
      ("search:margin=20", nil, 20), ("search:every=2,margin=20", "after-epoch:improve=5", 50), (nil, "search:every=2", 40),
      (nil, "after-epoch:improve=100,continue=true", 50),
    ] as [(String?, String?, Int)]).dealt())
  func aResumedRunDecidesAsTheUnbrokenOne(minibatch: String?, rate: String?, length: Int) throws {
    let directory = try TemporaryDirectory(on: world)
    let whole = options {
      ($0.tuneMinibatch, $0.tuneRate) = (minibatch, rate)
      $0.steps = 80
      $0.codec = "one-bit"
    }
    let expected = try metrics(whole)
    var part = whole
    part.checkpoint = directory.path + "/saved"
    part.steps = length
    let first = try metrics(part)
    part.steps = 80
    part.resume = true
    let rest = try metrics(part)
    #expect(rest.outcome == expected.outcome)
    let decisions = events("tuning", in: first.lines) + events("tuning", in: rest.lines)
    #expect(decisions.map { $0 as NSDictionary } == events("tuning", in: expected.lines).map { $0 as NSDictionary })
    #expect(decisions.count > 1)
  }
}

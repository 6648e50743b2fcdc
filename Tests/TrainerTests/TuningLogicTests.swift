import Buffers
import Files
import Foundation
import Reporting
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// The decisions of tuning against plain transcriptions of CNTK's rules (algorithms §1.9), for criteria that are made up.
@Suite(.oneProcess) struct TuningLogicTests {
  /// CNTK's search, line by line, save that a first criterion which is no number leaves things as they are, and that others fail.
  private func transcribedMinibatch(
    epoch e: Int, initial: Int, previous: Int, share: Double, frequency: Int, most: Int, margin: Double,
    criterion: (Int) -> Double
  ) -> Int {
    let before = e < 2 ? 0 : previous
    if before != 0 && e + 1 > frequency && (e + 1) % frequency != 0 { return before }
    let r = sqrt(share)
    var (low, high) = (r < 1 ? Int(floor(Double(initial) / r)) : initial, most)
    if before != 0 { (low, high) = (max(low, before / 2), min(high, 2 * before)) }
    if low > high { return high }
    var base: Double?
    var best = previous
    for k in 0... {
      let x = Double(low) * pow(2, Double(k) / 2)
      if x > Double(high) + 1e-6 { return best }
      let size = max(64, 64 * Int(floor((x + 32) / 64)))
      let c = criterion(size)
      if let base {
        if c.isNaN || c > base * (1 + margin / 100) { return best }
      } else if c.isNaN {
        return Double(low) * sqrt(2) > Double(high) ? size : previous
      }
      base = base ?? c
      best = size
    }
    return best
  }

  @Test func minibatchesAreChosenAsTranscribed() {
    let random = Philox(seed: 3, purpose: .tests)
    var (changes, kept) = (0, 0)
    for trial in 0..<3000 {
      func draw(_ index: Int) -> Double { Double(random.uniform(trial * 16 + index)) }
      var search = MinibatchSearch()
      search.interval = 1 + Int(draw(0) * 4)
      search.margin = draw(1) * 4
      let initial = 64 * (1 + Int(draw(2) * 8))
      let previous = initial * (1 + Int(draw(3) * 6))
      search.largest = initial * (1 + Int(draw(4) * 20))
      if previous > search.largest { continue }
      let (epoch, share) = (Int(draw(5) * 9), draw(6) < 0.5 ? 1 : draw(7))
      // A loss that grows beyond some size, with noise, and becomes infinite beyond another.
      let (knee, cliff) = (64 + draw(8) * 4000, 64 + draw(9) * 20000)
      func criterion(_ size: Int) -> Double {
        if Double(size) > cliff { return .nan }
        return 1 + 0.02 * Double(random.uniform(size, tensor: trial + 1)) + max(0, Double(size) / knee - 1) * 0.1
      }
      search.samples = 1 << 24
      let situation = MinibatchSearch.Situation(
        epoch: epoch, initial: initial, current: previous, rateShare: share, sampleCount: 1 << 24)
      var chosen = previous
      if search.isDue(before: epoch) {
        let sizes = search.sizes(in: situation)
        #expect(sizes.allSatisfy { $0 % 64 == 0 && $0 >= initial && $0 <= search.largest } && sizes == sizes.sorted())
        chosen = search.choose(among: sizes, current: previous) { criterion($0) }!.minibatch
      }
      let expected = transcribedMinibatch(
        epoch: epoch, initial: initial, previous: previous, share: share, frequency: search.interval, most: search.largest,
        margin: search.margin, criterion: criterion)
      #expect(chosen == expected, "\(search), \(situation)")
      if chosen == previous { kept += 1 } else { changes += 1 }
    }
    #expect(changes > 500 && kept > 500)
  }

  @Test func sizesAreMultiplesOf64ThatTheDataCanTell() {
    func sizes(_ initial: Int, _ current: Int, epoch: Int = 0, samples: Int? = nil, largest: Int = 4096) -> [Int] {
      var search = MinibatchSearch()
      (search.samples, search.largest) = (samples, largest)
      return search.sizes(
        in: .init(epoch: epoch, initial: initial, current: current, rateShare: 1, sampleCount: 10_000))
    }
    #expect(sizes(256, 256, samples: 10_000) == [256, 384, 512, 704, 1024, 1472, 2048])
    // What was asked for is tried as it is, and nothing smaller; a size needs four steps.
    #expect(sizes(100, 100, samples: 10_000) == [100, 128, 192, 256, 384, 576, 832, 1152, 1600, 2240])
    #expect(sizes(50, 50, samples: 1000) == [50, 64, 128, 192])
    #expect(sizes(50, 50, samples: 100) == [50])
    // Later, from half the size before to twice that.
    #expect(sizes(64, 512, epoch: 2, samples: 10_000) == [256, 384, 512, 704, 1024])
    #expect(sizes(64, 512, epoch: 2, samples: 10_000, largest: 700) == [256, 384, 512])
    // The usual samples of a trial: an eighth of an epoch, 32 minibatches at least.
    #expect(sizes(32, 32) == [32, 64, 128, 192, 256] && sizes(200, 200).last == 1600)
    #expect(sizes(9000, 9000) == [9000])
  }

  @Test func aTrialThatFailsIsNeverChosen() throws {
    let search = MinibatchSearch()
    func choose(_ criteria: [Int: Double]) -> (minibatch: Int, trials: [MinibatchSearch.Trial])? {
      search.choose(among: [64, 128, 192], current: 96) { criteria[$0] }
    }
    #expect(try #require(choose([64: 1, 128: .nan, 192: 0])).minibatch == 64)
    #expect(try #require(choose([64: .nan, 128: 1, 192: 1])).minibatch == 96)
    let result = try #require(choose([64: 1, 128: 1.005, 192: 1.02]))
    #expect(result.minibatch == 128 && result.trials.map(\.isAccepted) == [true, true, false])
    // Somebody asked to stop.
    #expect(choose([64: 1, 128: 1]) == nil)
    // One size alone needs no trial.
    #expect(search.choose(among: [64], current: 96) { _ in nil }?.minibatch == 64)
    var accuracy = search
    accuracy.criterion = .accuracy
    let accuracies = [64: 0.50, 128: 0.492, 192: 0.48]
    #expect(try #require(accuracy.choose(among: [64, 128, 192], current: 64) { accuracies[$0] }).minibatch == 128)
    #expect(try #require(accuracy.choose(among: [64, 128], current: 64) { $0 == 64 ? 0.5 : .nan }).minibatch == 64)
  }

  @Test func aCriterionThatIsNotFiniteIsNeverComparedWith() {
    for criterion in [Double.nan, .infinity] {
      var memory = AfterEpoch.Memory()
      let decision = AfterEpoch().decide(criterion, &memory)
      #expect(decision.goesBack && decision.factor == 0.618 && memory.previous == nil)
      #expect(AfterEpoch().decide(2, &memory).factor == 1 && memory.previous == 2)
      #expect(AfterEpoch().decide(criterion, &memory).goesBack && memory.previous == 2)
    }
  }

  /// CNTK's rule after an epoch, line by line; returns the factors of the rate, and where it goes back or ends.
  private func transcribedCourse(
    _ criteria: [Double], least: Double, much: Double, continues: Bool, loadsBest: Bool
  ) -> [AfterEpoch.Decision] {
    var (previous, hasReduced) = (Double.infinity, false)
    var course: [AfterEpoch.Decision] = []
    for c in criteria {
      var decision = AfterEpoch.Decision()
      if c.isNaN || previous - c < 0 { decision.goesBack = loadsBest }
      let fails = c.isNaN || previous - c <= least * previous && previous != .infinity
      if continues {
        if fails && hasReduced { decision.ends = true }
        if fails { hasReduced = true }
        if hasReduced && !decision.ends { decision.factor = 0.618 }
      } else if fails {
        decision.factor = 0.618
      } else if previous - c > much * previous && previous != .infinity {
        decision.factor = 1.382
      }
      if !decision.goesBack && !c.isNaN { previous = c }
      course.append(decision)
      if decision.ends { break }
    }
    return course
  }

  @Test(arguments: [false, true], [false, true])
  func theRateFollowsTheEpochsAsTranscribed(continues: Bool, loadsBest: Bool) {
    let random = Philox(seed: 4, purpose: .tests)
    for trial in 0..<300 {
      var control = AfterEpoch()
      (control.continues, control.loadsBest) = (continues, loadsBest)
      if trial % 2 == 1 { (control.leastImprovement, control.largeImprovement) = (0.02, 0.1) }
      var level = 2.0
      let criteria = (0..<10).map { epoch -> Double in
        let number = Double(random.uniform(trial * 16 + epoch))
        level *= 0.8 + 0.25 * number
        return number < 0.06 ? .nan : level
      }
      let expected = transcribedCourse(
        criteria, least: control.leastImprovement, much: control.largeImprovement, continues: continues, loadsBest: loadsBest)
      var memory = AfterEpoch.Memory()
      for (criterion, decision) in zip(criteria, expected) { #expect(control.decide(criterion, &memory) == decision) }
    }
  }

  /// CNTK's search before an epoch, line by line; a criterion that is no number counts as infinite.
  private func transcribedRate(
    largest: Double, initial: Double, previous: Double?, share: Double, isFirst: Bool, least: Double,
    criterion: (Double) -> Double
  ) -> Double {
    func c(_ rate: Double) -> Double { criterion(rate).isNaN ? .infinity : criterion(rate) }
    var base = c(0)
    if let previous { base = max(sqrt(share) * previous + (1 - sqrt(share)) * base, base) }
    var rate = largest / 0.618 / 0.618
    repeat { rate *= 0.618 } while c(rate) > base && rate > least
    guard isFirst else { return rate }
    var (left, right) = (initial / 100, rate)
    if left >= right { return right }
    while right > left * 1.2 {
      if c(right) > c(left) { right *= 0.618 } else { left /= 0.618 }
    }
    return c(left) < c(right) ? left : right
  }

  @Test func ratesAreFoundAsTranscribed() throws {
    let random = Philox(seed: 5, purpose: .tests)
    var searched = 0
    for trial in 0..<500 {
      func draw(_ index: Int) -> Double { Double(random.uniform(trial * 16 + index)) }
      let (initial, optimum) = (exp(draw(0) * 6 - 6), exp(draw(1) * 8 - 8))
      // A parabola in the logarithm of the rate, the start's loss at the rate 0, and a cliff.
      func criterion(_ rate: Double) -> Double {
        if rate > 20 * optimum { return .nan }
        return rate == 0 ? 2 : 1 + 0.15 * pow(log(rate / optimum), 2)
      }
      let recent = (0..<Int(draw(2) * 8)).map { initial * exp(4 * draw(3 + $0) - 2) }
      let previous: Double? = trial % 3 == 0 ? nil : 1 + draw(12) * 2
      let situation = RateSearch.Situation(
        initial: initial, current: initial / 2, recent: recent, previous: previous, share: draw(13))
      let isFirst = trial % 2 == 0
      let choice = try #require(RateSearch().choose(in: situation, isFirst: isFirst) { criterion($0) })
      let expected = transcribedRate(
        largest: recent.suffix(5).max() ?? initial, initial: initial, previous: previous, share: situation.share,
        isFirst: isFirst, least: initial * 0.001, criterion: criterion)
      #expect(abs(choice.rate / expected - 1) < 1e-9, "\(situation): \(choice)")
      #expect(choice.trials[0].rate == 0 && choice.trials.contains { $0.rate == choice.rate })
      searched = max(searched, choice.trials.count)
    }
    #expect(searched > 10)
    // Where not even the start has a loss, the rate stays; where somebody asks to stop, nothing is chosen.
    let situation = RateSearch.Situation(initial: 1, current: 0.3, recent: [], previous: nil, share: 1)
    #expect(RateSearch().choose(in: situation, isFirst: true) { _ in .nan }?.rate == 0.3)
    #expect(RateSearch().choose(in: situation, isFirst: true) { $0 > 0.1 ? nil : 1 } == nil)
  }

  @Test func faultySpecificationsAreRefused() {
    for text in ["grow", "search:every=0", "search:criterion=error", "search:max=0", "search:8", "search:marging=1"] {
      #expect(throws: SpecificationError.self, "\(text)") { try minibatchSearches.make(text) }
    }
    for text in ["before", "after-epoch:reduce=2", "after-epoch:by=dev", "after-epoch:continue=1", "search:least=0"] {
      #expect(throws: SpecificationError.self, "\(text)") { try rateControls.make(text) }
    }
    var options = TrainerOptions()
    options.tuneMinibatch = "search:max=128"
    #expect { try Recipe(options) } throws: { "\($0)".contains("smaller than --minibatch 256") }
  }

  @Test func decisionsAreTold() throws {
    var event = TuningEvent(step: 40, epoch: 3, quantity: .minibatch, before: 256)
    #expect(event.text == "before epoch 3: minibatch stays 256, nothing else to try")
    event.after = 384
    event.trials = [
      .init(minibatch: 256, loss: 0.51234, isAccepted: true), .init(minibatch: 384, loss: 0.5, isAccepted: true),
      .init(minibatch: 512, loss: .nan, isAccepted: false),
    ]
    #expect(event.text == "before epoch 3: minibatch 256 → 384 (256: loss 0.5123, 384: loss 0.5000, 512: failed)")
    let line = String(describing: event.json)
    #expect(line.contains(#""before":256,"after":384"#) && line.contains(#"{"minibatch":512,"loss":null,"isAccepted":false}"#))
    var rate = TuningEvent(step: 40, epoch: 3, quantity: .learningRate, before: 0.1)
    (rate.after, rate.previousLoss, rate.goesBack, rate.endsRun) = (0.0618, 0.4, true, true)
    rate.trials = [.init(loss: 0.41, isAccepted: true)]
    #expect(
      rate.text
        == "before epoch 3: learning rate 0.1 → 0.0618 (loss 0.4100 after 0.4000); back to the state before; the run ends here")
    for (number, text) in [(0.0618, "0.0618"), (0.1, "0.1"), (256, "256"), (1234.5, "1235"), (0, "0"), (1e-5, "0.00001")] {
      #expect(significant(number, digits: 3) == text)
    }
  }
}

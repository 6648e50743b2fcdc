import Buffers
import Collectives
import Foundation
import MPI
import Networks
import Optimizers
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// 0/1 Adam against its formulas, and in whole runs.
@Suite(.serialized) struct ZeroOneAdamTests {
  private func adam(
    _ keys: String = "freeze=12,scale=2", _ change: (inout TrainerOptions) -> Void = { _ in }
  ) -> TrainerOptions {
    options {
      ($0.optimizer, $0.learningRate, $0.warmStart) = ("zero-one-adam:\(keys)", 0.005, nil)
      change(&$0)
    }
  }

  /// The steps with floats, as the loop of the reference finds them.
  private func floatSteps(freeze: Int, scale: Int, of steps: Int) -> [Int] {
    var (interval, count, found): (Int, Int, [Int]) = (1, 0, [])
    for step in 0..<min(steps, freeze) where step % interval == 0 {
      found.append(step)
      count += 1
      if count == scale { (interval, count) = (2 * interval, 0) }
    }
    return found
  }

  @Test(.oneProcess) func theVarianceSeesGradientsLessAndLessOften() {
    var rule = ZeroOneAdam.Rule(freeze: 30)
    rule.scale = 2
    #expect((0..<40).filter(rule.updatesVariance) == [0, 1, 2, 4, 8, 12, 16, 24])
    for scale in [1, 2, 3, 16] {
      for freeze in [1, 5, 100, 1000] {
        rule.scale = scale
        rule.freeze = freeze
        #expect((0..<1100).filter(rule.updatesVariance) == floatSteps(freeze: freeze, scale: scale, of: 1100))
      }
    }
  }

  /// With floats, a run on any number of ranks is that of the formulas.
  @Test(.ranks(atMost: 4)) func runsFollowTheFormula() throws {
    let options = adam("freeze=9,scale=2,epsilon=1e-3") {
      ($0.codec, $0.weightDecay, $0.steps, $0.minibatch) = ("none", 0.5, 14, 49)
    }
    let run = try PlainRun(options)
    var w = run.weights.values.map(Double.init)
    var (m, v) = ([Double](repeating: 0, count: w.count), [Double](repeating: 0, count: w.count))
    let decay = run.network.layout.tensors.flatMap { tensor in
      [Double](repeating: tensor.shape.count > 1 ? options.weightDecay : 0, count: tensor.count)
    }
    let seen = floatSteps(freeze: 9, scale: 2, of: 14)
    for step in run.steps {
      let samples = run.samples(of: step)
      try run.computeGradient(of: samples, among: samples.count)
      let floor = step < 2 ? 0 : 0.1 * (v.reduce(0, +) / Double(v.count)).squareRoot()
      for i in w.indices {
        let g = Double(run.gradient[i])
        m[i] = 0.9 * m[i] + 0.1 * g
        if seen.contains(step) { v[i] = 0.999 * v[i] + 0.001 * g * g }
        w[i] -= Double(run.rate(of: step)) * (m[i] / (max(v[i].squareRoot(), floor) + 1e-3) + decay[i] * w[i])
        run.weights[i] = Float(w[i])
      }
    }
    let found = try trainedModel(options).values
    let far = farthest(found, w)
    #expect(far.distance < 3e-4, "value \(far.place)")
  }

  /// Steps that ranks take alone, each with its own gradients and momentum, and the exchanges that bring them together.
  @Test(.ranks(atMost: 4)) func stepsAloneFollowTheFormula() throws {
    let options = adam("freeze=4,scale=2,local=4,local-scale=4,epsilon=1e-3") {
      ($0.codec, $0.weightDecay, $0.steps, $0.minibatch) = ("none", 0.5, 23, 49)
    }
    let (run, ranks) = (try PlainRun(options), world.count)
    let count = run.weights.count
    let zeros = [Double](repeating: 0, count: count)
    var (base, v) = (run.weights.values.map(Double.init), zeros)
    var (w, m, sums) = (
      Array(repeating: base, count: ranks), Array(repeating: zeros, count: ranks), Array(repeating: zeros, count: ranks)
    )
    var (n, rates) = (0, 0.0)
    let decay = run.network.layout.tensors.flatMap { tensor in
      [Double](repeating: tensor.shape.count > 1 ? options.weightDecay : 0, count: tensor.count)
    }
    let seen = floatSteps(freeze: 4, scale: 2, of: 23)
    // Every step, every second and every fourth; and the last.
    let exchanged = Set([4, 5, 6, 7, 9, 11, 15, 19, 22] + Array(0..<4))
    for step in run.steps {
      let (samples, rate) = (run.samples(of: step), Double(run.rate(of: step)))
      var g = Array(repeating: zeros, count: ranks)
      for (rank, range) in Partition(count: samples.count, into: ranks).ranges.enumerated() {
        for i in 0..<count { run.weights[i] = Float(w[rank][i]) }
        try run.computeGradient(of: samples[range], among: samples.count)
        g[rank] = run.gradient.values.map(Double.init)
      }
      let floor = step < 2 ? 0 : 0.1 * (v.reduce(0, +) / Double(count)).squareRoot()
      if step < 4 {
        for i in 0..<count {
          let mean = g.reduce(0) { $0 + $1[i] }
          for rank in 0..<ranks { m[rank][i] = 0.9 * m[rank][i] + 0.1 * mean }
          if seen.contains(step) { v[i] = 0.999 * v[i] + 0.001 * mean * mean }
          base[i] -= rate * (m[0][i] / (max(v[i].squareRoot(), floor) + 1e-3) + decay[i] * base[i])
        }
        w = Array(repeating: base, count: ranks)
        continue
      }
      rates += rate
      n += 1
      let divisor = v.map { max($0.squareRoot(), floor) + 1e-3 }
      for rank in 0..<ranks {
        for i in 0..<count {
          m[rank][i] = 0.9 * m[rank][i] + 0.1 * Double(ranks) * g[rank][i]
          sums[rank][i] += m[rank][i]
          w[rank][i] -= rate * m[rank][i] / divisor[i]
        }
      }
      guard exchanged.contains(step) else { continue }
      let mean = (0..<count).map { i in sums.reduce(0) { $0 + $1[i] } / Double(n * ranks) }
      for i in 0..<count { base[i] -= rates * (mean[i] / divisor[i] + decay[i] * base[i]) }
      (w, m, sums) = (
        Array(repeating: base, count: ranks), Array(repeating: mean, count: ranks), Array(repeating: zeros, count: ranks)
      )
      (n, rates) = (0, 0)
    }
    let far = farthest(try trainedModel(options).values, base)
    #expect(far.distance < 5e-4, "value \(far.place)")
  }

  /// Meetings are where exchanges end, and nothing of the steps alone is left there.
  @Test(.ranks(atMost: 4), arguments: ["one-bit", "none"]) func stepsAloneGoOnAfterAResume(_ codec: String) throws {
    let options = adam("freeze=4,scale=2,local=4,local-scale=4") {
      ($0.codec, $0.weightDecay, $0.steps) = (codec, 0.01, 30)
    }
    let whole = try train(options)
    for steps in [4, 8, 12, 20] {
      #expect(
        try trainBrokenOff(after: steps, options, period: 4).modelHash == whole.modelHash, "after \(steps) steps")
    }
    for overlap in [Overlap.inline, .thread] {
      var other = options
      (other.overlap, other.transport) = (overlap, .messages)
      #expect(try train(other).modelHash == whole.modelHash)
    }
  }

  /// Whichever step is skipped, ranks have the same model where they meet, and the exchanges are those of the schedule.
  @Test(.ranks(atLeast: 2), arguments: ["15:0", "13:1", "19:0", "22:0"]) func skippedStepsEndNoIntervalEarly(_ place: String)
    throws
  {
    for overlap in [Overlap.off, .inline] {
      let options = adam("freeze=4,scale=2,local=4,local-scale=4") {
        ($0.steps, $0.injectNonFinite, $0.overlap, $0.transport) = (23, place, overlap, .messages)
      }
      let trainer = try TrainingRun(options, on: world, isSilent: true)
      let outcome = try trainer.run()
      #expect(outcome.steps == 23)
      #expect(Set(try world.allGather([outcome.modelHash])).count == 1)
      // Step 3 and those from 4 on by codes: every one, every second, every fourth, and the last.
      // What is discarded counts as an exchange, too.
      if overlap == .off { #expect(trainer.strategy.report.steps == 10) }
    }
  }

  /// Steps whose gradients the variance sees cross as floats; those between, and all after the freeze, as codes.
  @Test(.ranks(atLeast: 2)) func codesCrossInBetween() throws {
    let trainer = try TrainingRun(adam(), on: world, isSilent: true)
    _ = try trainer.run()
    let floats = floatSteps(freeze: 12, scale: 2, of: 20).count
    #expect(trainer.strategy.report.warmStartSteps == floats && trainer.strategy.report.steps == 20 - floats)
    #expect(trainer.strategy.report.traffic == trainer.strategy.report.predictedTraffic * (20 - floats))
  }

  /// What codes of gradients have left is nothing of the momentum.
  @Test(.ranks(atLeast: 2)) func residualsBeginAnewWithTheMomentum() throws {
    func residual(after steps: Int) throws -> [Float] {
      let trainer = try TrainingRun(adam("freeze=12,scale=2,beta1=0"), on: world, isSilent: true)
      trainer.lastStep = steps
      _ = try trainer.run()
      return Array(try #require(StateInventory(of: trainer.strategy).tensor("residual")).values)
    }
    #expect(try residual(after: 2).allSatisfy { $0 == 0 })
    let (before, after) = (try residual(after: 12), try residual(after: 13))
    #expect(before.contains { $0 != 0 } && after.contains { $0 != 0 })
    // With residuals of before, those after would be larger than what one code leaves of one gradient.
    let norms = [before, after].map { $0.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot() }
    #expect(norms[1] < norms[0], "\(norms)")
  }

  @Test(.oneProcess) func keysAreCheckedAndReasonsGiven() throws {
    for text in [
      "zero-one-adam:local=3", "zero-one-adam:local=0", "zero-one-adam:freeze=0", "zero-one-adam:scale=0",
      "zero-one-adam:beta1=1",
    ] {
      #expect(throws: (any Error).self) { try optimizers.make(text) }
    }
    let sentences: [(String, (inout TrainerOptions) -> Void)] = [
      ("which begins with 16 steps of floats; leave it out", { $0.warmStart = 1 }),
      (
        "its variance is frozen once, and trials or a return to an earlier state would change it again",
        { $0.tuneRate = "after-epoch" }
      ),
    ]
    for (sentence, change) in sentences {
      #expect { try Recipe(adam("freeze=1000", change)) } throws: { "\($0)".hasSuffix(sentence) }
    }
  }

  @Test func trainingLearns() throws {
    let evaluation = try #require(
      try train(adam("freeze=100,scale=16") { ($0.steps, $0.learningRate) = (300, 0.003) }).evaluation)
    #expect(evaluation.accuracy > 0.35, "\(evaluation)")
  }
}

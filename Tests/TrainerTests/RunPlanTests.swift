import Buffers
import Foundation
import Optimizers
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Plans whose minibatch changes where an epoch begins, against a walk over every sample.
@Suite(.oneProcess) struct RunPlanTests {
  private func plan(samples: Int, minibatch: Int, epochs: Int = 3, steps: Int? = nil) -> RunPlan {
    var options = TrainerOptions()
    options.minibatch = minibatch
    options.epochs = epochs
    options.steps = steps
    return RunPlan(options, sampleCount: samples)
  }

  @Test(arguments: [
    (samples: 330, minibatch: 50, sizes: [50, 100, 50]), (330, 50, [64, 128, 128]), (330, 50, [50, 50, 330]),
    (1000, 256, [64, 512, 704]), (7, 7, [7, 3, 1]), (1, 1, [1, 1, 1]), (100, 32, [100, 64, 1000]),
  ])
  func everySampleOfEveryEpochIsUsedOnce(samples: Int, minibatch: Int, sizes: [Int]) {
    var plan = plan(samples: samples, minibatch: minibatch)
    for (epoch, size) in sizes.enumerated() { plan.use(minibatch: size, from: epoch) }
    let ranks = min(3, samples)
    var (step, seen) = (0, 0)
    for (epoch, size) in sizes.enumerated() {
      #expect(plan.firstStep(of: epoch) == step && plan.minibatch(of: epoch) == min(size, samples))
      var place = 0
      while place < samples {
        let end = min(place + size, samples)
        #expect(plan.places(of: step) == place..<end)
        #expect((0..<ranks).flatMap { Array(plan.places(of: step, rank: $0, ranks: ranks)) } == Array(place..<end))
        #expect(plan.epoch(of: step) == epoch && plan.beginsEpoch(step) == (place == 0))
        #expect(plan.samples(before: step) == seen)
        let position = Double(epoch * ((samples - 1) / minibatch + 1)) + Double(place) / Double(minibatch)
        #expect(plan.position(of: step) == position)
        (place, seen, step) = (end, seen + end - place, step + 1)
      }
    }
    #expect(plan.steps == step && plan.samples(before: step) == seen && seen == sizes.count * samples)
  }

  @Test func lengthWarmStartAndPositionCountStepsOfTheMinibatchThatWasAskedFor() {
    var plan = plan(samples: 1000, minibatch: 100, steps: 25)
    for step in 0..<40 { #expect(plan.position(of: step) == Double(step)) }
    #expect(plan.steps == 25 && plan.horizon == 25 && plan.warmStart == 2)
    plan.use(minibatch: 200, from: 0)
    // Ten steps of 200 are two epochs, and 500 samples of the third take three.
    #expect(plan.steps == 13 && plan.horizon == 25)
    #expect((0..<13).filter(plan.isInWarmStart) == [0])
    plan.use(minibatch: 50, from: 1)
    #expect(plan.steps == 5 + 20 + 10)
    // What has been done stays as it was.
    #expect(plan.samples(before: 5) == 1000 && plan.position(of: 3) == 6 && plan.position(of: 6) == 10.5)
    // A later decision for an epoch replaces the earlier one.
    plan.use(minibatch: 200, from: 1)
    #expect(plan.steps == 13)
  }

  @Test func scheduleAndWarmStartFollowTheSamplesNotTheSteps() throws {
    let (small, large) = (plan(samples: 1200, minibatch: 60), plan(samples: 1200, minibatch: 60))
    var doubled = large
    doubled.use(minibatch: 120, from: 1)
    for text in ["constant", "cosine", "linear", "step:every=7,by=0.5", "cosine:warmup=25"] {
      let schedule = try schedules.make(text)
      for step in 0..<doubled.steps {
        let counterpart = small.samples(before: 0) + doubled.samples(before: step)
        let expected = schedule.factor(at: Double(counterpart) / 60, of: small.steps)
        #expect(schedule.factor(at: doubled.position(of: step), of: doubled.horizon) == expected, "\(text) at \(step)")
      }
    }
    // In the middle of a step of the warm-up, never beyond the full rate.
    #expect(try schedules.make("constant:warmup=4").factor(at: 3.5, of: 10) == 1)
  }

  @Test func powersAreThoseOfTheLibraryAndExactWhereTheyCanBe() {
    for base in [0.0, 0.3, 0.9, 0.999, 1] {
      #expect(power(base, 1) == base && power(base, 0) == 1 && power(base, 2) == base * base)
      #expect(power(base, 0.5) == base.squareRoot())
      for exponent in [0.25, 0.7, 1.4142, 3.3, 17.01, 4000.5] {
        let expected = Foundation.pow(base, exponent)
        #expect(abs(power(base, exponent) - expected) <= 1e-13 * expected, "\(base) to \(exponent)")
      }
    }
  }

  /// The paper's and CNTK's convention: a gradient moves the model as far whatever the minibatch, and is forgotten after as many samples.
  @Test(arguments: ["sgd", "sgd:gain=unit", "sgd:nesterov=true", "sgd:gain=unit,nesterov=true"], [Float(0), 0.9])
  func aGradientMovesTheModelAsFarWhateverTheMinibatch(specification: String, momentum: Float) throws {
    func distance(minibatch: Int) throws -> (early: Double, all: Double) {
      let weights = FloatBuffer(count: 1)
      let optimizer = try optimizers.make(specification)(
        OptimizerSettings(count: 1, momentum: momentum, weightDecay: 0, minibatch: 100))
      optimizer.setMinibatch(minibatch)
      let rate = 0.01 * Float(minibatch) / 100
      var early = 0.0
      // One minibatch of ones, then zeros for 40 000 samples.
      for step in 0..<(40_000 / minibatch) {
        withUnsafePointer(to: Float(step == 0 ? 100 / Float(minibatch) : 0)) {
          optimizer.update(0..<1, of: weights, with: $0, rate: rate)
        }
        if (step + 1) * minibatch == 800 { early = Double(weights[0]) }
      }
      return (early, Double(weights[0]))
    }
    let expected = try distance(minibatch: 100)
    for minibatch in [50, 200, 400, 800] {
      let result = try distance(minibatch: minibatch)
      #expect(abs(result.all / expected.all - 1) < 1e-5, "\(minibatch): \(result) for \(expected)")
      // After 800 samples the same share is still to come, ρ^(800/N₀); Nesterov's step looks ahead by one minibatch.
      guard momentum > 0, !specification.contains("nesterov") else { continue }
      #expect(abs((1 - result.early / result.all) / pow(Double(momentum), 8) - 1) < 1e-4, "\(minibatch): \(result)")
    }
  }

  @Test func theMinibatchOfTheSettingsChangesNoBit() throws {
    for specification in ["sgd", "sgd:gain=unit", "sgd:nesterov=true"] {
      let (touched, plain) = (FloatBuffer(count: 1), FloatBuffer(count: 1))
      let settings = OptimizerSettings(count: 1, momentum: 0.9, weightDecay: 0.01, minibatch: 96)
      let (one, other) = (try optimizers.make(specification)(settings), try optimizers.make(specification)(settings))
      one.setMinibatch(192)
      for step in 0..<50 {
        one.setMinibatch(96)
        withUnsafePointer(to: Float(step % 7) / 3 - 1) {
          one.update(0..<1, of: touched, with: $0, rate: 0.05)
          other.update(0..<1, of: plain, with: $0, rate: 0.05)
        }
      }
      #expect(touched[0].bitPattern == plain[0].bitPattern)
    }
  }
}

import Buffers
import Foundation
import Optimizers
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Optimizers and schedules against their formulas, written out plainly.
@Suite(.oneProcess) struct DescentTests {
  /// What an optimizer does in three steps to one value, in fp32 with every operation rounded.
  private func reference(
    _ w: Float, gradients: [Float], rates: [Float], momentum: Float, gain: Float, decay: Float, isNesterov: Bool
  ) -> Float {
    var (w, u) = (w, Float(0))
    for (gradient, rate) in zip(gradients, rates) {
      let x = decay == 0 ? gradient : gradient + decay * w
      if momentum == 0 {
        w = w - rate * x
        continue
      }
      let y = gain * x
      u = momentum * u + y
      w = w - rate * (isNesterov ? y + momentum * u : u)
    }
    return w
  }

  @Test(
    arguments: ["sgd", "sgd:gain=unit", "sgd:nesterov=true", "sgd:gain=unit,nesterov=true", "sgd:gain=classic,nesterov=false"],
    [Float(0), 0.9])
  func optimizersFollowTheirFormulas(specification: String, momentum: Float) throws {
    for decay in [Float(0), 0.01] {
      let count = 1003
      let random = Philox(seed: 5, purpose: .tests)
      let parameters = FloatBuffer(count: count)
      for i in 0..<count { parameters[i] = random.uniform(i) - 0.5 }
      let start = Array(parameters.values)
      let optimizer = try optimizers.make(specification)(
        OptimizerSettings(count: count, momentum: momentum, weightDecay: decay))
      #expect(StateInventory(of: optimizer).tensors.map(\.name) == (momentum == 0 ? [] : ["momentum"]))
      let rates: [Float] = [0.1, 0.05, 0.2]
      var gradients: [[Float]] = []
      for (step, rate) in rates.enumerated() {
        let gradient = (0..<count).map { random.uniform($0, tensor: step + 1) - 0.5 }
        gradients.append(gradient)
        // In pieces of awkward sizes, in no order.
        for range in [500..<501, 501..<count, 0..<17, 17..<500] {
          gradient[range].withUnsafeBufferPointer {
            optimizer.update(range, of: parameters, with: $0.baseAddress!, rate: rate)
          }
        }
      }
      let gain = specification.contains("unit") ? 1 - momentum : 1
      for i in 0..<count {
        let expected = reference(
          start[i], gradients: gradients.map { $0[i] }, rates: rates, momentum: momentum, gain: gain, decay: decay,
          isNesterov: specification.contains("nesterov=true"))
        #expect(parameters[i].bitPattern == expected.bitPattern, "value \(i)")
      }
    }
  }

  /// A time constant forgets by samples: how they are cut into updates changes nothing of what is left, and a mean gradient moves the
  /// model as far in the end whatever the samples of its update.
  @Test(arguments: ["gain=classic", "gain=unit", "gain=classic,nesterov=true", "gain=unit,nesterov=true"])
  func aTimeConstantForgetsBySamples(style: String) throws {
    let tau = 2429.8
    func run(_ updates: [(samples: Int, gradient: Float)]) throws -> (momentum: Double, moved: Double) {
      let weights = FloatBuffer(count: 1)
      let optimizer = try optimizers.make("sgd:\(style),time-constant=\(tau)")(
        OptimizerSettings(count: 1, momentum: 0.5, weightDecay: 0))
      for (samples, gradient) in updates {
        optimizer.prepare(samples: samples, share: 1)
        withUnsafePointer(to: gradient) { optimizer.update(0..<1, of: weights, with: $0, rate: 0.25) }
      }
      return (Double(StateInventory(of: optimizer).tensors[0].values[0]), -Double(weights[0]))
    }
    let first = [(256, Float(1))]
    let start = try run(first).momentum
    #expect(abs(start - (style.contains("unit") ? 1 - exp(-256 / tau) : 1)) < 1e-6)
    let whole = try run(first + [(256, 0)]).momentum
    // ρ at 256 samples is 0.9.
    #expect(abs(whole / start - exp(-256 / tau)) < 1e-6 && abs(whole / start - 0.9) < 1e-5)
    for parts in [[128, 128], [1, 255], [100, 100, 56]] {
      let cut = try run(first + parts.map { ($0, 0) }).momentum
      #expect(abs(cut / whole - 1) < 1e-6, "\(parts)")
    }
    // In the end a gradient has moved the model by η·γ/(1 − ρ), ρ being that of 256 samples, in updates of any size.
    let far = 0.25 * start / (1 - exp(-256 / tau))
    for samples in [17, 128, 256, 500] {
      let rest = Array(repeating: (samples, Float(0)), count: 100_000 / samples)
      let moved = try run([(samples, Float(samples) / 256)] + rest).moved
      #expect(abs(moved * 256 / Double(samples) / far - 1) < 1e-4, "\(samples)")
    }
  }

  @Test func aTimeConstantGivesTheMomentumAndExcludesAnother() throws {
    var options = TrainerOptions()
    options.optimizer = "sgd:time-constant=2429.8"
    _ = try Recipe(options)
    options.momentum = 0.8
    #expect { try Recipe(options) } throws: { "\($0)".contains("--momentum 0.8 does not go with") }
  }

  @Test func schedulesFollowTheirFormulas() throws {
    let horizon = 50
    for (text, formula) in [
      ("constant", { (_: Double, _: Double) in 1.0 }),
      ("cosine", { t, n in 0.5 + 0.5 * cos(3.14159265358979 * t / n) }),
      ("linear", { t, n in (n - t) / n }),
      ("cosine:floor=0.1", { t, n in 0.1 + 0.45 * (1 + cos(3.14159265358979 * t / n)) }),
      ("linear:floor=0.25", { t, n in 1 - 0.75 * t / n }),
      ("step:every=7,by=0.5", { t, _ in pow(0.5, (t / 7).rounded(.down)) }),
    ] as [(String, (Double, Double) -> Double)] {
      for warmup in [0, 1, 10] {
        let schedule = try schedules.make(text.contains(":") ? "\(text),warmup=\(warmup)" : "\(text):warmup=\(warmup)")
        for step in 0..<horizon {
          let expected =
            step < warmup
            ? Double(step + 1) / Double(warmup) : formula(Double(step - warmup), Double(horizon - warmup))
          #expect(abs(schedule.factor(at: Double(step), of: horizon) - expected) < 1e-12, "\(text) at \(step)")
        }
      }
    }
    // The floor is where it ends, and stays.
    for name in ["cosine", "linear"] {
      for (floor, text) in [(0, name), (0.1, "\(name):floor=0.1"), (1, "\(name):floor=1")] {
        let schedule = try schedules.make(text)
        #expect(schedule.factor(at: 50, of: 50) == floor && schedule.factor(at: 70, of: 50) == floor)
      }
    }
    // A warm-up longer than the run is no division by zero.
    #expect(try schedules.make("cosine:warmup=100").factor(at: 9, of: 10) == 0.1)
  }

  @Test func faultySpecificationsAreRefused() {
    for text in [
      "sgd:gain=double", "sgd:nesterov=1", "sgd:0.9", "sgd:lr=1", "adamax", "sgd:time-constant=0", "sgd:time-constant=x",
      "sgd:decay=biases", "adam:beta1=1", "adam:beta2=-0.1", "adam:epsilon=0", "adam:correct=1", "adamw:decay=none",
      "adam:gain=unit",
    ] {
      #expect(throws: SpecificationError.self, "\(text)") { try optimizers.make(text) }
    }
    for text in [
      "step", "step:every=0", "step:every=3,by=2", "cosine:warmup=-1", "cosine:5", "poly", "cosine:floor=2",
      "linear:floor=-0.1", "constant:floor=0.1",
    ] {
      #expect(throws: SpecificationError.self, "\(text)") { try schedules.make(text) }
    }
  }

  @Test func plansCoverEverySampleOnce() {
    for (samples, minibatch, ranks) in [(100, 32, 3), (7, 7, 7), (1, 1, 1), (1000, 256, 8), (10, 64, 2)] {
      var options = TrainerOptions()
      options.minibatch = minibatch
      options.epochs = 3
      let plan = RunPlan(options, sampleCount: samples)
      #expect(plan.steps == 3 * Int((Double(samples) / Double(min(minibatch, samples))).rounded(.up)))
      #expect(plan.warmStart == plan.steps / 10)
      var seen = 0
      for step in 0..<plan.steps {
        #expect(plan.samples(before: step) == seen)
        #expect(plan.places(of: step).lowerBound == seen % samples)
        let slices = (0..<ranks).map { plan.places(of: step, rank: $0, ranks: ranks) }
        #expect(slices.flatMap { Array($0) } == Array(plan.places(of: step)))
        seen += plan.places(of: step).count
      }
      #expect(seen == 3 * samples && plan.samples(before: plan.steps) == seen)
    }
  }
}

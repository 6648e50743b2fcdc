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

/// 1-bit Adam against its formulas, and in whole runs.
@Suite(.serialized) struct OneBitAdamTests {
  private func adam(_ keys: String = "freeze=7", _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.optimizer, $0.learningRate, $0.warmStart) = ("one-bit-adam:\(keys)", 0.005, nil)
      change(&$0)
    }
  }

  private func update(_ optimizer: OneBitAdam, _ weights: FloatBuffer, _ sum: [Float], step: Int, rate: Float) {
    optimizer.begin(step)
    optimizer.prepare(samples: 100, share: 1)
    sum.withUnsafeBufferPointer {
      guard let base = $0.baseAddress else { return }
      // In two pieces, the last one first.
      let middle = sum.count / 3
      optimizer.update(middle..<sum.count, of: weights, with: base + middle, rate: rate)
      optimizer.update(0..<middle, of: weights, with: base, rate: rate)
    }
    optimizer.finish(weights, rate: rate)
  }

  /// The first steps of the specification's trace: Adam without correction of bias.
  @Test(.oneProcess) func theTraceOfTheSpecification() throws {
    let optimizer = OneBitAdam(
      OptimizerSettings(count: 2, momentum: 0.9, weightDecay: 0, minibatch: 100), rule: OneBitAdam.Rule(freeze: 2))
    let weights = FloatBuffer(count: 2)
    (weights[0], weights[1]) = (1, 1)
    let expected: [[Double]] = [[0.68377243, 0.68377243], [0.26271995, 0.28763437]]
    for (step, mean) in ([[0.5, 0.5], [0.75, 0.25]] as [[Float]]).enumerated() {
      update(optimizer, weights, mean, step: step, rate: 0.1)
      for i in 0..<2 { #expect(abs(Double(weights[i]) - expected[step][i]) < 1e-6) }
    }
    let state = StateInventory(of: optimizer)
    let (m, v) = (try #require(state.tensor("momentum")).values, try #require(state.tensor("squares")).values)
    for (found, expected) in zip([m[0], m[1], v[0], v[1]], [0.12, 0.07, 0.00081225, 0.00031225]) {
      #expect(abs(Double(found) - expected) < 1e-8)
    }
    // Frozen: what is summed is the next momentum.
    update(optimizer, weights, [0.13, -0.02], step: 2, rate: 0.1)
    #expect(m[0] == 0.13 && m[1] == -0.02)
    #expect(abs(Double(weights[0]) - (0.26271995 - 0.013 / 0.00081225.squareRoot())) < 1e-5)
    #expect(abs(Double(weights[1]) - (0.28763437 + 0.002 / 0.00031225.squareRoot())) < 1e-5)
    #expect(abs(Double(v[0]) - 0.00081225) < 1e-8)
  }

  /// The contributions of several ranks add up to the next momentum, and parameters that had no gradient do not explode.
  @Test(.oneProcess) func contributionsAreSharesOfTheMomentum() throws {
    let layout = TensorLayout([("weights", [10, 10])])
    let settings = OptimizerSettings(layout: layout, momentum: 0.9, weightDecay: 0.1, minibatch: 100)
    let recipe = try optimizers.make("one-bit-adam:freeze=3,decay=all")
    let optimizer = try #require(recipe(settings) as? OneBitAdam)
    let rankCount = 4
    let transform = try #require(
      GradientTransforms.atRank(
        TransformParts(
          layout: layout, result: .gradient, shareCount: rankCount, weightDecay: 0.1, clip: nil, ofOptimizer: recipe.transforms,
          optimizer: optimizer)
      ).first)
    let weights = FloatBuffer(count: 100)
    for i in 0..<100 { weights[i] = Float(i) / 100 }
    var w = weights.values.map(Double.init)
    var (m, v) = ([Double](repeating: 0, count: 100), [Double](repeating: 0, count: 100))
    let random = Philox(seed: 2, purpose: .tests)
    for step in 0..<8 {
      optimizer.begin(step)
      let parts = (0..<rankCount).map { rank in
        let gradient = FloatBuffer(count: 100)
        // One of ten parameters has no gradient before the freeze.
        for i in 0..<100 {
          gradient[i] = i % 10 == 3 && step < 3 ? 0 : (random.uniform(i, tensor: 10 * step + rank) - 0.4) / Float(rankCount)
        }
        let plain = gradient.values.map(Double.init)
        transform.transform(0, of: gradient, at: weights, share: 1)
        return (plain, Array(gradient.values))
      }
      let mean = (0..<100).map { i in parts.reduce(0) { $0 + $1.0[i] } }
      let sum = (0..<100).map { i in parts.reduce(Float(0)) { $0 + $1.1[i] } }
      update(optimizer, weights, sum, step: step, rate: 0.01)
      for i in 0..<100 {
        m[i] = 0.9 * m[i] + 0.1 * mean[i]
        if step < 3 { v[i] = 0.999 * v[i] + 0.001 * mean[i] * mean[i] }
      }
      let floor = step < 3 ? 0 : 0.1 * (v.reduce(0, +) / 100).squareRoot()
      for i in 0..<100 {
        w[i] -= 0.01 * (m[i] / (max(v[i].squareRoot(), floor) + 1e-8) + 0.1 * w[i])
        #expect(abs(Double(weights[i]) - w[i]) < 1e-3, "step \(step), value \(i)")
      }
    }
  }

  /// With floats, a run on any number of ranks is that of the formulas.
  @Test(.ranks(atMost: 4)) func runsFollowTheFormula() throws {
    let options = adam("freeze=4,epsilon=1e-3") {
      ($0.codec, $0.weightDecay, $0.steps, $0.minibatch) = ("none", 0.5, 10, 49)
    }
    let run = try PlainRun(options)
    var w = run.weights.values.map(Double.init)
    var (m, v) = ([Double](repeating: 0, count: w.count), [Double](repeating: 0, count: w.count))
    let decay = run.network.layout.tensors.flatMap { tensor in
      [Double](repeating: tensor.shape.count > 1 ? options.weightDecay : 0, count: tensor.count)
    }
    for step in run.steps {
      let samples = run.samples(of: step)
      try run.computeGradient(of: samples, among: samples.count)
      let isFrozen = step >= 4
      let floor = isFrozen ? 0.1 * (v.reduce(0, +) / Double(v.count)).squareRoot() : 0
      for i in w.indices {
        let g = Double(run.gradient[i])
        m[i] = 0.9 * m[i] + 0.1 * g
        if !isFrozen { v[i] = 0.999 * v[i] + 0.001 * g * g }
        w[i] -= Double(run.rate(of: step)) * (m[i] / (max(v[i].squareRoot(), floor) + 1e-3) + decay[i] * w[i])
        run.weights[i] = Float(w[i])
      }
    }
    let found = try trainedModel(options).values
    let far = farthest(found, w)
    #expect(far.distance < 2e-4, "value \(far.place)")
  }

  @Test(.oneProcess) func keysAreChecked() throws {
    for text in ["one-bit-adam:freeze=0", "one-bit-adam:beta1=1", "one-bit-adam:correct=false"] {
      #expect(throws: (any Error).self) { try optimizers.make(text) }
    }
    // A warm start that is longer than the freeze is taken.
    _ = try Recipe(adam { $0.warmStart = 9 })
  }

  @Test func trainingLearns() throws {
    let evaluation = try #require(
      try train(adam("freeze=40") { ($0.steps, $0.learningRate) = (200, 0.003) }).evaluation)
    #expect(evaluation.accuracy > 0.35, "\(evaluation)")
  }
}

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

/// 1-bit LAMB against its formulas, and in whole runs.
@Suite(.serialized) struct OneBitLAMBTests {
  private func lamb(_ keys: String = "freeze=7", _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.optimizer, $0.learningRate, $0.warmStart) = ("one-bit-lamb:\(keys)", 0.01, nil)
      change(&$0)
    }
  }

  /// The formulas in fp64, one rank that sees all gradients.
  private struct Reference {
    let layout: TensorLayout
    let freeze: Int
    let decay: Double
    let epsilon: Double
    var (w, m, v, fresh): ([Double], [Double], [Double], [Double])
    var ratios: [Double]
    var factors: [Double]

    init(_ layout: TensorLayout, weights: [Double], freeze: Int, decay: Double, epsilon: Double) {
      (self.layout, self.freeze, self.decay, self.epsilon) = (layout, freeze, decay, epsilon)
      let zeros = [Double](repeating: 0, count: weights.count)
      (w, m, v, fresh) = (weights, zeros, zeros, zeros)
      ratios = layout.tensors.map { _ in 0 }
      factors = layout.tensors.map { _ in 1 }
    }

    mutating func step(_ step: Int, _ g: [Double], rate: Double) {
      let isFrozen = step >= freeze
      if step == freeze { fresh = v }
      let floor = isFrozen ? 0.1 * (v.reduce(0, +) / Double(max(v.count, 1))).squareRoot() : 0
      for i in w.indices {
        m[i] = 0.9 * m[i] + 0.1 * g[i]
        if isFrozen { fresh[i] = 0.999 * fresh[i] + 0.001 * g[i] * g[i] } else { v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i] }
      }
      func divisor(_ square: Double) -> Double { max(square.squareRoot(), floor) + epsilon }
      for (t, tensor) in layout.tensors.enumerated() where tensor.count > 0 {
        let isMatrix = tensor.shape.count > 1
        let u = tensor.range.map { m[$0] / divisor(v[$0]) + (isMatrix ? decay * w[$0] : 0) }
        var r = 1.0
        if isMatrix && !isFrozen {
          let norms = [Array(w[tensor.range]), u].map { $0.reduce(0) { $0 + $1 * $1 }.squareRoot() }
          r = norms[0] > 0 && norms[1] > 0 ? max(0.01, min(10, norms[0] / norms[1])) : 1
          ratios[t] = step == 0 ? r : 0.9 * ratios[t] + 0.1 * r
        } else if isMatrix {
          let largest = tensor.range.map { divisor(v[$0]) / divisor(fresh[$0]) }.max() ?? 1
          factors[t] = max(0.9 * factors[t], min(1.1 * factors[t], max(0.5, min(4, largest))))
          r = ratios[t] * factors[t]
        }
        for (place, i) in tensor.range.enumerated() { w[i] -= rate * r * u[place] }
      }
    }
  }

  /// Gradients that grow small after the freeze: the frozen variance is too large, and the factor makes up for it, within its limits.
  @Test(.oneProcess, arguments: [1e-3, 1, 50] as [Double]) func theFactorFollowsTheVariance(_ change: Double) throws {
    let layout = TensorLayout([("weights", [12, 10]), ("bias", [12]), ("empty", [0, 3]), ("zeros", [3, 4])])
    let settings = OptimizerSettings(layout: layout, momentum: 0.9, weightDecay: 0.1, minibatch: 100)
    let recipe = try optimizers.make("one-bit-lamb:freeze=5,beta2=0.999")
    let rankCount = 4
    let optimizer = recipe(settings)
    let transform = try #require(
      GradientTransforms.atRank(
        TransformParts(
          layout: layout, result: .gradient, shareCount: rankCount, weightDecay: 0.1, clip: nil, ofOptimizer: recipe.transforms,
          optimizer: optimizer)
      ).first)
    let weights = FloatBuffer(count: layout.count)
    for i in 0..<layout.count { weights[i] = layout.tensor(at: i)?.name == "zeros" ? 0 : Float(i % 11) / 11 - 0.4 }
    var reference = Reference(
      layout, weights: weights.values.map(Double.init), freeze: 5, decay: 0.1, epsilon: 1e-8)
    let random = Philox(seed: 12, purpose: .tests)
    for step in 0..<40 {
      optimizer.begin(step)
      let scale = step < 5 ? 1 : Float(change)
      let parts = (0..<rankCount).map { rank in
        let gradient = FloatBuffer(count: layout.count)
        for i in 0..<layout.count {
          gradient[i] = scale * (random.uniform(i, tensor: 10 * step + rank) - 0.4) / Float(rankCount)
        }
        let plain = gradient.values.map(Double.init)
        for tensor in layout.tensors.indices { transform.transform(tensor, of: gradient, at: weights, share: 1) }
        return (plain, Array(gradient.values))
      }
      let mean = (0..<layout.count).map { i in parts.reduce(0) { $0 + $1.0[i] } }
      let sum = (0..<layout.count).map { i in parts.reduce(Float(0)) { $0 + $1.1[i] } }
      optimizer.prepare(samples: 100, share: 1)
      sum.withUnsafeBufferPointer {
        guard let base = $0.baseAddress else { return }
        optimizer.update(50..<layout.count, of: weights, with: base + 50, rate: 0.01)
        optimizer.update(0..<50, of: weights, with: base, rate: 0.01)
      }
      optimizer.finish(weights, rate: 0.01)
      reference.step(step, mean, rate: 0.01)
      let far = farthest(weights, reference.w)
      #expect(far.distance < 2e-3, "step \(step), value \(far.place)")
    }
    let ratios = try #require(StateInventory(of: optimizer).tensor("ratios")).values
    #expect(abs(Double(ratios[4]) - reference.factors[0]) < 1e-2 * reference.factors[0])
    // 1.1 to the 35th is far above 4, and 0.9 to it far below 0.5.
    if change < 0.01 { #expect(ratios[4] > 1) } else if change > 10 { #expect(ratios[4] == 0.5) }
  }

  @Test(.ranks(atMost: 4)) func runsFollowTheFormula() throws {
    let options = lamb("freeze=4,epsilon=1e-3") {
      ($0.codec, $0.weightDecay, $0.steps, $0.minibatch) = ("none", 0.1, 10, 49)
    }
    let run = try PlainRun(options)
    var reference = Reference(
      run.network.layout, weights: run.weights.values.map(Double.init), freeze: 4, decay: 0.1, epsilon: 1e-3)
    for step in run.steps {
      let samples = run.samples(of: step)
      try run.computeGradient(of: samples, among: samples.count)
      reference.step(step, run.gradient.values.map(Double.init), rate: Double(run.rate(of: step)))
      for i in 0..<run.weights.count { run.weights[i] = Float(reference.w[i]) }
    }
    let far = farthest(try trainedModel(options).values, reference.w)
    #expect(far.distance < 5e-4, "value \(far.place)")
  }

  @Test func trainingLearns() throws {
    let evaluation = try #require(
      try train(lamb("freeze=40") { ($0.steps, $0.learningRate) = (200, 0.01) }).evaluation)
    #expect(evaluation.accuracy > 0.35, "\(evaluation)")
  }
}

import Buffers
import Foundation
import Optimizers
import Testing
import _TestSupport
@testable import _TrainingSupport

/// Lion and LAMB against their formulas in plain fp64.
@Suite(.oneProcess) struct LionTests {
  private static let magnitudes = ([1e-42, 1e-30, 1e-6, 1, 1e18, 3e37] as [Double]).map { Float($0) }

  /// Does one update of all values, in pieces of awkward sizes, in no order.
  private func update(
    _ optimizer: any Optimizer, _ weights: FloatBuffer, _ gradient: [Float], rate: Float, share: Float = 1
  ) {
    optimizer.prepare(samples: 100, share: share)
    let cuts = [0, 1, 17, 500, 501, gradient.count].filter { $0 <= gradient.count }.sorted()
    for (start, end) in zip(cuts, cuts.dropFirst()).reversed() {
      gradient.withUnsafeBufferPointer {
        guard let base = $0.baseAddress else { return }
        optimizer.update(start..<end, of: weights, with: base + start, rate: rate)
      }
    }
    optimizer.finish(weights, rate: rate)
  }

  private func gradient(_ count: Int, step: Int, magnitude: Float) -> [Float] {
    let random = Philox(seed: 3, purpose: .tests, step: step)
    return (0..<count).map { i in i % 7 == 3 ? 0 : (2 * random.uniform(i) - 1) * magnitude }
  }

  @Test(arguments: magnitudes, [0, 0.1] as [Float]) func lionFollowsTheFormula(magnitude: Float, decay: Float) throws {
    for count in [0, 1, 15, 16, 17, 1000] {
      var rule = Lion.Rule()
      rule.scope = .all
      let optimizer = Lion(
        OptimizerSettings(count: count, momentum: 0.9, weightDecay: decay, minibatch: 100), rule: rule)
      let weights = FloatBuffer(count: count)
      for i in 0..<count { weights[i] = Float(i % 13) / 13 - 0.5 }
      var w = weights.values.map(Double.init)
      var m = [Double](repeating: 0, count: count)
      for step in 0..<5 {
        let (gradient, share) = (gradient(count, step: step, magnitude: magnitude), step == 3 ? 0.5 : 1.0)
        update(optimizer, weights, gradient, rate: 0.01, share: Float(share))
        let (kept1, kept2) = (pow(0.9, share), pow(0.99, share))
        for i in 0..<count {
          let g = Double(gradient[i]) / share
          let c = kept1 * m[i] + (1 - kept1) * g
          // Rounding may decide about the sign of a difference.
          let isNear = abs(c) < 1e-6 * (abs(m[i]) + abs(g)) + 0x1p-145
          let move =
            isNear && c != 0 ? (w[i] - Double(weights[i])) / 0.01 / share : (c > 0 ? 1 : c < 0 ? -1 : 0) + Double(decay) * w[i]
          w[i] -= 0.01 * share * move
          m[i] = kept2 * m[i] + (1 - kept2) * g
        }
      }
      let means = try #require(StateInventory(of: optimizer).tensor("momentum")).values
      for i in 0..<count {
        #expect(abs(Double(weights[i]) - w[i]) < 1e-5, "value \(i) of \(count)")
        #expect(abs(Double(means[i]) - m[i]) <= 1e-5 * Double(magnitude) + 0x1p-145, "m \(i) of \(count)")
        // Without a gradient only the decay moves a weight.
        if i % 7 == 3, decay == 0 { #expect(weights[i] == Float(i % 13) / 13 - 0.5) }
      }
    }
  }

  @Test(arguments: magnitudes, [0, 0.1] as [Float]) func lambFollowsTheFormula(magnitude: Float, decay: Float) throws {
    let layout = TensorLayout([("weights", [20, 30]), ("bias", [20]), ("zeros", [5, 4]), ("last", [3, 7])])
    for correctsBias in [true, false] {
      var rule = Adam.Rule()
      (rule.isDecoupled, rule.correctsBias) = (true, correctsBias)
      let optimizer = LAMB(
        OptimizerSettings(layout: layout, momentum: 0.9, weightDecay: decay, minibatch: 100), rule: rule)
      let weights = FloatBuffer(count: layout.count)
      for i in 0..<layout.count { weights[i] = layout.tensor(at: i)?.name == "zeros" ? 0 : Float(i % 13) / 13 - 0.5 }
      var w = weights.values.map(Double.init)
      var (m, v) = ([Double](repeating: 0, count: layout.count), [Double](repeating: 0, count: layout.count))
      var steps = 0.0
      for step in 0..<5 {
        let (gradient, share) = (gradient(layout.count, step: step, magnitude: magnitude), step == 3 ? 0.5 : 1.0)
        update(optimizer, weights, gradient, rate: 0.01, share: Float(share))
        let (kept1, kept2) = (pow(0.9, share), pow(0.999, share))
        steps += share
        for i in 0..<layout.count {
          let g = max(-0x1p63, min(0x1p63, Double(gradient[i]) / share))
          (m[i], v[i]) = (kept1 * m[i] + (1 - kept1) * g, kept2 * v[i] + (1 - kept2) * g * g)
        }
        for tensor in layout.tensors {
          let isMatrix = tensor.shape.count > 1
          let u = tensor.range.map { i in
            let (mean, square) =
              correctsBias ? (m[i] / (1 - pow(0.9, steps)), v[i] / (1 - pow(0.999, steps))) : (m[i], v[i])
            return mean / (square.squareRoot() + 1e-8) + (isMatrix ? Double(decay) * w[i] : 0)
          }
          let norms = [Array(w[tensor.range]), u].map { $0.reduce(0) { $0 + $1 * $1 }.squareRoot() }
          let ratio = isMatrix && norms[0] > 0 && norms[1] > 0 ? max(0.01, min(10, norms[0] / norms[1])) : 1
          for (place, i) in tensor.range.enumerated() { w[i] -= 0.01 * share * ratio * u[place] }
        }
      }
      for i in 0..<layout.count { #expect(abs(Double(weights[i]) - w[i]) < 1e-4 + 1e-4 * abs(w[i]), "value \(i)") }
    }
  }

  @Test func momentaAreForgotten() {
    let lion = Lion(OptimizerSettings(count: 3, momentum: 0.9, weightDecay: 0))
    let weights = FloatBuffer(count: 3)
    update(lion, weights, [1, -1, 0], rate: 0.25)
    #expect(Array(weights.values) == [-0.25, 0.25, 0])
    lion.forgetMomentum()
    update(lion, weights, [0, 0, 0], rate: 0.25)
    #expect(Array(weights.values) == [-0.25, 0.25, 0])
  }
}

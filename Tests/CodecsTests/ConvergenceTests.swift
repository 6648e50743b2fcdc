import Buffers
import Codecs
import Foundation
import Testing

/// Error feedback keeps the loss where floats bring it; the residual as printed in the paper does not.
///
/// Logistic regression, 2 000 × 192, features scaled by j^−0.3, the weights seen as 12 columns of 16; four ranks and an owner
/// in one process, both with residuals (algorithms.md, F2 and 1.13.2).
@Suite struct ConvergenceTests {
  enum Feedback { case float, right, printed }

  @Test("the right residual follows floats, the printed one does not", arguments: [0.5, 2.0, 8.0])
  func feedback(rate: Double) {
    let task = LogisticTask()
    let float = task.finalLoss(rate: rate, feedback: .float)
    let right = task.finalLoss(rate: rate, feedback: .right)
    let printed = task.finalLoss(rate: rate, feedback: .printed)
    #expect(right <= 1.02 * float, "float \(float), with feedback \(right)")
    #expect(printed >= 1.2 * float, "float \(float), printed formula \(printed)")
  }
}

private struct LogisticTask {
  let count = 2000
  let width = 192
  let inputs: [Float]
  let labels: [Float]

  init() {
    let random = Philox(seed: 5, purpose: .tests)
    func normal(_ index: Int, tensor: Int) -> Float {
      (0..<12).reduce(-6) { $0 + random.uniform(12 * index + $1, tensor: tensor) }
    }
    let scales = (1...width).map { pow(Double($0), -0.3) }
    let truth = (0..<width).map { normal($0, tensor: 2) }
    var (inputs, labels): ([Float], [Float]) = ([], [])
    for sample in 0..<count {
      var score: Float = 0.1 * normal(sample, tensor: 3)
      for j in 0..<width {
        let x = normal(sample * width + j, tensor: 1) * Float(scales[j])
        inputs.append(x)
        score += x * truth[j]
      }
      labels.append(score >= 0 ? 1 : -1)
    }
    self.inputs = inputs
    self.labels = labels
  }

  func finalLoss(rate: Double, feedback: ConvergenceTests.Feedback, steps: Int = 1500) -> Double {
    let (ranks, minibatch) = (4, 64)
    let codec = OneBit(grouping: .elements(16))
    var weights = [Float](repeating: 0, count: width)
    var residuals = [[Float]](repeating: weights, count: ranks)
    var ownerResidual = weights
    let random = Philox(seed: 5, purpose: .dataOrder)
    for step in 0..<steps {
      let samples = (0..<minibatch).map { Int(random.word(step * minibatch + $0)) % count }
      var total = [Float](repeating: 0, count: width)
      for rank in 0..<ranks {
        let share = samples[rank * minibatch / ranks..<(rank + 1) * minibatch / ranks]
        let gradient = gradient(of: share, weights: weights, scale: 1 / Float(minibatch))
        let sent = transmit(gradient, &residuals[rank], codec, feedback)
        for i in 0..<width { total[i] += sent[i] }
      }
      let aggregate = transmit(total, &ownerResidual, codec, feedback)
      for i in 0..<width { weights[i] -= Float(rate) * aggregate[i] }
    }
    return loss(weights)
  }

  /// What arrives of a gradient, group by group.
  private func transmit(
    _ gradient: [Float], _ residual: inout [Float], _ codec: OneBit, _ feedback: ConvergenceTests.Feedback
  ) -> [Float] {
    guard feedback != .float else { return gradient }
    var arrived: [Float] = []
    for start in stride(from: 0, to: width, by: 16) {
      let group = start..<start + 16
      let encoded = codec.encode(Array(gradient[group]), residual: Array(residual[group]))
      let decoded = codec.decode(encoded.code, count: 16)
      arrived += decoded
      residual.replaceSubrange(
        group, with: feedback == .right ? encoded.residual : zip(gradient[group], decoded).map { $0 - $1 })
    }
    return arrived
  }

  private func score(_ sample: Int, _ weights: [Float]) -> Float {
    inputs.withUnsafeBufferPointer { inputs in
      weights.withUnsafeBufferPointer { weights in
        var lanes = SIMD16<Float>.zero
        for j in stride(from: 0, to: width, by: 16) {
          let x = UnsafeRawPointer(inputs.baseAddress! + sample * width + j).loadUnaligned(as: SIMD16<Float>.self)
          lanes += x * UnsafeRawPointer(weights.baseAddress! + j).loadUnaligned(as: SIMD16<Float>.self)
        }
        return lanes.sum()
      }
    }
  }

  private func gradient(of samples: ArraySlice<Int>, weights: [Float], scale: Float) -> [Float] {
    var gradient = [Float](repeating: 0, count: width)
    for sample in samples {
      let margin = Double(score(sample, weights) * labels[sample])
      let factor = Float(-1 / (1 + exp(margin))) * labels[sample] * scale
      for j in 0..<width { gradient[j] += factor * inputs[sample * width + j] }
    }
    return gradient
  }

  private func loss(_ weights: [Float]) -> Double {
    (0..<count).reduce(0) { sum, sample in
      let margin = Double(score(sample, weights) * labels[sample])
      return sum + log(1 + exp(-margin))
    } / Double(count)
  }
}

import Buffers
import Foundation
import Networks
import Testing

@Suite struct EvaluationTests {
  @Test(arguments: ["softmax", "mlp:33,7", "mlp:33,7,activation=sigmoid"])
  func evaluationAgreesWithTheGradientAndTheReference(_ model: String) throws {
    let started = try Started(model, inputs: 7, classes: 5)
    let batch = Minibatch.random(count: 9, featureCount: 7, classCount: 5, spare: 3)
    let logPosteriors = FloatBuffer(count: 9 * 5 + 4)
    for index in 0..<logPosteriors.count { logPosteriors[index] = 7 }
    let result = try started.network.evaluate(batch, parameters: started.parameters, logPosteriors: logPosteriors)
    #expect(try result == started.run(batch))
    #expect(try result == started.network.evaluate(batch, parameters: started.parameters, logPosteriors: nil))

    let sizes = model == "softmax" ? [7, 5] : [7, 33, 7, 5]
    let reference = ReferenceNetwork(sizes: sizes, usesSigmoid: model.contains("sigmoid"))
    let parameters = started.parameters.doubles
    var correct = 0
    for row in 0..<9 {
      let expected = reference.logPosteriors(of: batch.sample(row), parameters: parameters)
      for index in 0..<5 { #expect(abs(Double(logPosteriors[row * 5 + index]) - expected[index]) < 2e-6) }
      if expected.indices.max(by: { expected[$0] < expected[$1] })! == Int(batch.labels[row]) { correct += 1 }
    }
    #expect(result.correct == correct && result.count == 9)
    #expect((45..<49).allSatisfy { logPosteriors[$0] == 7 })
  }

  /// Logits set by hand: the inputs are one-hot, so that a row of logits is a column of the weights.
  @Test func correctSamplesAreCounted() throws {
    let network = try models.make("softmax")(3, 4)
    let parameters = FloatBuffer(count: network.layout.count)
    let logits: [[Float]] = [[1, 5, 2, 3], [2, 2, 2, 2], [-9, -8, -7, -8]]
    for (sample, row) in logits.enumerated() {
      for (index, logit) in row.enumerated() { parameters[index * 3 + sample] = logit }
    }
    let batch = Minibatch(capacity: 3, featureCount: 3)
    for sample in 0..<3 { batch.inputs[sample * 3 + sample] = 1 }
    batch.count = 3
    func correct(_ labels: [Int32]) throws -> Int {
      batch.labels = labels
      return try network.evaluate(batch, parameters: parameters, logPosteriors: nil).correct
    }
    #expect(try correct([1, 0, 2]) == 3)
    #expect(try correct([1, 1, 2]) == 2)  // The lowest class wins a tie.
    #expect(try correct([0, 3, 0]) == 0)
    batch.labels = [1, 0, 2]
    let loss = try network.evaluate(batch, parameters: parameters, logPosteriors: nil).lossSum
    let expected = logits.enumerated().reduce(0.0) { sum, it in
      sum + log(it.element.reduce(0) { $0 + exp(Double($1)) }) - Double(it.element[Int(batch.labels[it.offset])])
    }
    #expect(abs(loss - expected) < 1e-6)
  }

  /// Logits of ±10⁴ neither overflow nor lose the loss.
  @Test func largeLogitsAreStable() throws {
    let network = try models.make("softmax")(1, 3)
    let parameters = FloatBuffer(count: network.layout.count)
    for (index, weight) in [Float(1e4), -1e4, 9999].enumerated() { parameters[index] = weight }
    let batch = Minibatch(capacity: 1, featureCount: 1)
    batch.inputs[0] = 1
    batch.labels[0] = 1
    batch.count = 1
    let gradient = FloatBuffer(count: network.layout.count)
    let result = try network.gradient(of: batch, parameters: parameters, scale: 1, into: gradient) { _ in }
    #expect(abs(result.lossSum - (2e4 + log(1 + exp(-1.0)))) < 1e-3)
    #expect(abs(gradient[0] - 0.731_058_6) < 1e-6 && gradient[1] == -1 && abs(gradient[2] - 0.268_941_4) < 1e-6)
  }

  /// What is not finite reaches the loss and the gradient of the samples' tensors, and stops nothing.
  @Test(arguments: ["softmax", "mlp:33,7", "mlp:33,7,activation=sigmoid"], [Float.nan, .infinity, -.infinity])
  func nonFiniteValuesFlowToTheLoss(_ model: String, _ value: Float) throws {
    let started = try Started(model, inputs: 4, classes: 20)
    let batch = Minibatch.random(count: 3, featureCount: 4, classCount: 20)
    for index in 0..<started.parameters.count { started.parameters[index] = value }
    let result = try started.run(batch)
    #expect(!result.lossSum.isFinite && result.correct == 0)
    #expect(!started.gradient[0].isFinite)
    #expect(try !started.network.evaluate(batch, parameters: started.parameters, logPosteriors: nil).lossSum.isFinite)
  }

  @Test func exponentialIsWithinTwoUlps() {
    var worst = 0.0
    for index in 0..<400_000 {
      let x = Float(-87) + Float(index) * (175 / 400_000)
      let expected = exp(Double(x))
      let actual = exponential(SIMD16(repeating: x))
      let ulp = Double(Float(expected).ulp)
      worst = max(worst, abs(Double(actual[index % 16]) - expected) / ulp)
    }
    #expect(worst < 2)
    let edges: [(Float, Float)] = [(0, 1), (-0.0, 1), (-87.5, 0), (-.infinity, 0), (-1e30, 0)]
    for (x, expected) in edges { #expect(exponential(SIMD16(repeating: x)) == SIMD16(repeating: expected)) }
    for x in [Float(89), 1e30, .infinity] { #expect(exponential(SIMD16(repeating: x)) == exponential(SIMD16(repeating: 88))) }
    #expect(exponential(SIMD16(repeating: .nan))[5].isNaN)
  }
}

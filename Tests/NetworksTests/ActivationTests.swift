import Buffers
import Foundation
import Networks
import Testing

/// Activations as the last layer but one: a linear layer whose weights are one passes them on.
@Suite struct ActivationTests {
  private static func values(_ activation: Activation, of inputs: [Float]) throws -> [Double] {
    let input = SampleShape(height: 1, width: 1, channels: 1)
    let network = try ComposedNetwork(Sequence([Nonlinearity(activation), Linear(2)]), input: input)
    let parameters = FloatBuffer(count: network.layout.count)
    // The second class has the value as its logit, the first has 0; the log posteriors differ by it.
    parameters[1] = 1
    let batch = Minibatch(capacity: inputs.count, featureCount: 1)
    for (index, value) in inputs.enumerated() { batch.inputs[index] = value }
    batch.count = inputs.count
    let rows = FloatBuffer(count: 2 * inputs.count)
    _ = try network.evaluate(batch, parameters: parameters, logPosteriors: rows)
    return inputs.indices.map { Double(rows[2 * $0 + 1]) - Double(rows[2 * $0]) }
  }

  private static let inputs: [Float] = [-3e38, -1e20, -88, -12, -10, -5, -1, -0.1, -1e-4, 0, 1e-4, 0.1, 1, 5, 10, 12]

  @Test func tanhIsThatOfTheLibrary() throws {
    for (value, input) in zip(try Self.values(.tanh, of: Self.inputs), Self.inputs) {
      #expect(abs(value - Foundation.tanh(Double(input))) < 1e-6, "tanh(\(input)) is \(value)")
    }
  }

  @Test func geluIsItsFormula() throws {
    for (value, input) in zip(try Self.values(.gelu, of: Self.inputs), Self.inputs.map(Double.init)) {
      let expected =
        input < -20
        ? 0 : 0.5 * input * (1 + Foundation.tanh((2 / Double.pi).squareRoot() * (input + 0.044715 * input * input * input)))
      #expect(abs(value - expected) < 2e-6 * max(1, abs(expected)), "gelu(\(input)) is \(value), not \(expected)")
    }
  }

  @Test(arguments: Activation.allCases) func nanPassesOn(_ activation: Activation) throws {
    #expect(try Self.values(activation, of: [.nan])[0].isNaN)
  }

  /// Slices keep only the values of activations, from which the derivative of GELU does not follow.
  @Test func aPerceptronWithGELUIsNotSliced() throws {
    let canSlice = try ThreadedSlices(count: 1).run { exchange in
      try ["gelu", "tanh"].map { try models.make("mlp:5,activation=\($0)")(3, 2).sliced(over: exchange) != nil }
    }
    #expect(canSlice == [[false, true]])
  }
}

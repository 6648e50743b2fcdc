import Buffers
import Foundation
import Networks
import Testing

@Suite struct TransformerTests {
  private static func form(_ length: Int, _ tokens: Int) -> SampleForm {
    SampleForm(inputCount: length, classCount: tokens, kind: .tokens)
  }

  /// As many parameters as the same model has in PyTorch, with biases everywhere but in the output layer.
  @Test func parametersAreCounted() throws {
    #expect(try models.make("transformer")(Self.form(128, 65)).layout.count == 826_368)
    let large = try models.make("transformer:layers=6,heads=6,width=384,context=256")(Self.form(256, 65))
    #expect(large.layout.count == 65 * 384 + 256 * 384 + 6 * (12 * 384 * 384 + 13 * 384) + 2 * 384 + 65 * 384)
    // Outputs of all layers, and the weights of all heads.
    #expect((50_000_000...56_000_000).contains(large.bytesOfSample), "\(large.bytesOfSample)")
    #expect(large.targetCount == 256 && large.inputCount == 256 && large.classCount == 65)
  }

  /// A tensor's name has the number of its layer, and the first layer's tensors lie last.
  @Test func tensorsLieInBackwardOrder() throws {
    let tensors = try models.make("transformer:layers=1,heads=1,width=8")(Self.form(5, 3)).layout.tensors
    #expect(
      tensors.map(\.name) == [
        "layers.9.weight", "layers.8.weight", "layers.8.bias", "layers.7.weight", "layers.7.bias", "layers.6.weight",
        "layers.6.bias", "layers.5.weight", "layers.5.bias", "layers.4.weight",
        "layers.4.bias", "layers.3.weight", "layers.3.bias", "layers.2.weight", "layers.2.bias", "layers.1.tokens.weight",
        "layers.1.positions.weight",
      ])
    #expect(tensors.map(\.shape).suffix(2) == [[3, 8], [5, 8]])
    #expect(tensors[3].shape == [8, 32] && tensors[5].shape == [32, 8] && tensors[11].shape == [24, 8])
  }

  /// The start has GPT-2's variance, less before sums; gains are 1, and the loss is that of an even guess.
  @Test func startIsSmall() throws {
    let network = try models.make("transformer:layers=2,heads=2,width=64")(Self.form(16, 50))
    let parameters = FloatBuffer(count: network.layout.count)
    network.initialize(parameters, seed: 7)
    for tensor in network.layout.tensors {
      let values = tensor.range.map { Double(parameters[$0]) }
      let deviation = (values.reduce(0) { $0 + $1 * $1 } / Double(values.count)).squareRoot()
      switch (tensor.shape.count, tensor.name.hasSuffix("weight")) {
      case (1, true): #expect(values.allSatisfy { $0 == 1 })
      case (1, false): #expect(values.allSatisfy { $0 == 0 })
      default:
        let isBeforeSum = tensor.shape[0] == 64 && tensor.name.split(separator: ".").count == 3
        #expect(abs(deviation / (isBeforeSum ? 0.01 : 0.02) - 1) < 0.05, "\(tensor.name): \(deviation)")
      }
    }
    let batch = Minibatch.random(count: 4, featureCount: 16, classCount: 50, targetCount: 16, tokenCount: 50)
    let result = try network.evaluate(batch, parameters: parameters, logPosteriors: nil)
    #expect(abs(result.lossSum / 4 - log(50.0)) < 0.1)
  }

  /// The gradients of parts of a minibatch add up to that of the whole, and that of nothing is zero.
  @Test func gradientsOfPartsAddUp() throws {
    let network = try models.make("transformer:layers=2,heads=3,width=12")(Self.form(9, 7))
    let parameters = FloatBuffer(count: network.layout.count)
    network.initialize(parameters, seed: 1)
    let batch = Minibatch.random(count: 5, featureCount: 9, classCount: 7, targetCount: 9, tokenCount: 7)
    func gradient(_ rows: Range<Int>) throws -> ([Double], BatchResult) {
      let gradient = FloatBuffer(count: network.layout.count)
      for index in 0..<gradient.count { gradient[index] = .nan }
      let result = try network.gradient(of: batch.part(rows), parameters: parameters, scale: 0.2, into: gradient) { _ in }
      return (gradient.doubles, result)
    }
    let (whole, result) = try gradient(0..<5)
    let parts = try [0..<2, 2..<2, 2..<5].map(gradient)
    #expect(parts[1].0.allSatisfy { $0 == 0 })
    for index in whole.indices {
      #expect(abs(parts.reduce(0) { $0 + $1.0[index] } - whole[index]) < 1e-6)
    }
    #expect(parts.reduce(0) { $0 + $1.1.correct } == result.correct)
    #expect(abs(parts.reduce(0) { $0 + $1.1.lossSum } - result.lossSum) < 1e-5)
  }

  /// A text that repeats with a period of 24, read from anywhere: the last letter alone tells next to nothing (1.03 nats), the last
  /// three all, so that a window of 16 costs 0.12997 nats a letter; less is possible only for a model that sees what it predicts.
  @Test func learnsAPeriodicText() throws {
    let text: [Int32] = [0, 1, 0, 2, 1, 2, 0, 0, 1, 1, 2, 2, 0, 2, 0, 1, 2, 1, 0, 1, 1, 0, 2, 2]
    let length = 16
    let network = try models.make("transformer:layers=2,heads=2,width=32")(Self.form(length, 3))
    let (parameters, gradient) = (FloatBuffer(count: network.layout.count), FloatBuffer(count: network.layout.count))
    network.initialize(parameters, seed: 1)
    func windows(_ starts: [Int]) -> Minibatch {
      let batch = Minibatch(capacity: starts.count, featureCount: length, targetCount: length)
      batch.count = starts.count
      for (row, start) in starts.enumerated() {
        for position in 0..<length {
          batch.inputs[row * length + position] = Float(text[(start + position) % 24])
          batch.labels[row * length + position] = text[(start + position + 1) % 24]
        }
      }
      return batch
    }
    let (means, squares) = (FloatBuffer(count: gradient.count), FloatBuffer(count: gradient.count))
    for step in 0..<700 {
      let batch = windows((0..<8).map { (step * 7 + $0 * 3) % 24 })
      _ = try network.gradient(of: batch, parameters: parameters, scale: 1 / 8, into: gradient) { _ in }
      // Adam, without the correction of its start.
      for index in 0..<gradient.count {
        means[index] = 0.9 * means[index] + 0.1 * gradient[index]
        squares[index] = 0.99 * squares[index] + 0.01 * gradient[index] * gradient[index]
        parameters[index] -= 0.003 * means[index] / (squares[index].squareRoot() + 1e-6)
      }
    }
    let loss = try network.evaluate(windows(Array(0..<24)), parameters: parameters, logPosteriors: nil).lossSum / 24
    #expect(loss > 0.1299 && loss < 0.2, "\(loss)")
  }

  @Test(arguments: [
    ("transformer:width=130", "a width of 130 cannot be divided among 4 heads"), ("transformer:layers=0", "1 to 64"),
    ("transformer:heads=x", "whole number"), ("transformer:width=65537", "1 to 65536"), ("transformer:context=0", "1 to 65536"),
    ("transformer:4", "takes no value"), ("transformer:depth=3", "layers, heads, width, context"),
  ]) func mistakesAreNamed(_ text: String, _ part: String) {
    let error = #expect(throws: SpecificationError.self) { try models.make(text) }
    #expect(error?.description.contains(part) == true, "\(error?.description ?? "no error")")
  }

  @Test func otherDataAreRefused() throws {
    func refusal(_ model: String, _ form: SampleForm) throws -> String? {
      let make = try models.make(model)
      return #expect(throws: SpecificationError.self) { try make(form) }?.description
    }
    #expect(try refusal("transformer", SampleForm(inputCount: 5, classCount: 2))?.contains("reads text") == true)
    let context = try refusal("transformer:context=64", Self.form(32, 5))
    #expect(context?.contains("reads 64 tokens at once, and samples have 32") == true)
    for model in ["cnn", "mlp:5"] {
      #expect(try refusal(model, Self.form(32, 5))?.contains("samples of text are tokens; transformer reads those") == true)
    }
    let large = try refusal("transformer:layers=64,heads=1,width=65536", Self.form(32, 5))
    #expect(large?.contains("parameters; at most") == true)
  }

  private static func run(token: Float) throws {
    let network = try models.make("transformer:layers=1,heads=1,width=4")(form(2, 3))
    let (parameters, batch) = (
      FloatBuffer(count: network.layout.count), Minibatch(capacity: 1, featureCount: 2, targetCount: 2)
    )
    batch.inputs[1] = token
    batch.count = 1
    _ = try network.evaluate(batch, parameters: parameters, logPosteriors: nil)
  }

  @Test func tokensAreChecked() async throws {
    try Self.run(token: 2)
    await #expect(processExitsWith: .failure) { try TransformerTests.run(token: 3) }
    await #expect(processExitsWith: .failure) { try TransformerTests.run(token: -1) }
    await #expect(processExitsWith: .failure) { try TransformerTests.run(token: 0.5) }
    await #expect(processExitsWith: .failure) { try TransformerTests.run(token: .nan) }
  }
}

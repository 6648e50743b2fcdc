import Buffers
import Networks
import Testing

/// Attention over lengths about those of its tiles of 64 positions.
@Suite struct AttentionTests {
  private static func layers(heads: Int) -> [ReferenceLayer] {
    [.linearOfEachPixel(18), .attention(heads: heads), .linearOfEachPixel(3)]
  }

  /// The gradient is that of the loss, by central differences of an independent attention in fp64.
  @Test(arguments: [1, 2, 63, 64, 65, 130], [1, 2, 3]) func gradientMatchesFiniteDifferences(_ length: Int, _ heads: Int) throws
  {
    let layers = Self.layers(heads: heads)
    let input = SampleShape(height: length, width: 1, channels: 2)
    let network = try ComposedNetwork(Sequence(layers.map(\.product)), input: input)
    let (parameters, gradient) = (FloatBuffer(count: network.layout.count), FloatBuffer(count: network.layout.count))
    network.initialize(parameters, seed: 2)
    let batch = Minibatch.random(count: 2, featureCount: input.count, classCount: 3, targetCount: length)
    let result = try network.gradient(of: batch, parameters: parameters, scale: 0.5, into: gradient) { _ in }
    let reference = ReferenceComposition(input: input, layers: layers)
    #expect(abs(result.lossSum - reference.loss(of: batch, parameters: parameters.doubles)) <= 2e-5)
    let expected = reference.gradient(of: batch, parameters: parameters.doubles).map { $0 / 2 }
    for tensor in network.layout.tensors {
      let largest = tensor.range.reduce(1e-3) { max($0, abs(expected[$1])) }
      for index in tensor.range where !(abs(Double(gradient[index]) - expected[index]) <= 5e-6 * largest) {
        Issue.record("\(tensor.name)[\(index - tensor.range.lowerBound)] is \(gradient[index]), not \(expected[index])")
      }
    }
  }

  /// What follows a position does not change what it predicts, in any bit.
  @Test(arguments: [70, 130]) func laterPositionsAreNotSeen(_ length: Int) throws {
    let network = try ComposedNetwork(
      Sequence(Self.layers(heads: 2).map(\.product)), input: SampleShape(height: length, width: 1, channels: 2))
    let parameters = FloatBuffer(count: network.layout.count)
    network.initialize(parameters, seed: 2)
    let batch = Minibatch.random(count: 1, featureCount: 2 * length, classCount: 3, targetCount: length)
    func posteriors() throws -> [Double] {
      let rows = FloatBuffer(count: 3 * length)
      _ = try network.evaluate(batch, parameters: parameters, logPosteriors: rows)
      return rows.doubles
    }
    let before = try posteriors()
    for place in [length - 1, 66, 64, 63, 1] {
      batch.inputs[2 * place] += 1
      let after = try posteriors()
      #expect(after[..<(3 * place)] == before[..<(3 * place)])
      #expect(zip(after, before).dropFirst(3 * place).prefix(3).contains { $0 != $1 })
      batch.inputs[2 * place] -= 1
    }
  }

  /// NaN at a position reaches every later one, and all gradients.
  @Test(arguments: [0, 40, 99]) func passesNaNOn(_ place: Int) throws {
    let network = try ComposedNetwork(
      Sequence(Self.layers(heads: 3).map(\.product)), input: SampleShape(height: 100, width: 1, channels: 2))
    let (parameters, gradient) = (FloatBuffer(count: network.layout.count), FloatBuffer(count: network.layout.count))
    network.initialize(parameters, seed: 2)
    let batch = Minibatch.random(count: 1, featureCount: 200, classCount: 3, targetCount: 100)
    batch.inputs[2 * place] = .nan
    let result = try network.gradient(of: batch, parameters: parameters, scale: 1, into: gradient) { _ in }
    #expect(result.lossSum.isNaN)
    #expect((0..<gradient.count).allSatisfy { !gradient[$0].isFinite })
    let rows = FloatBuffer(count: 300)
    _ = try network.evaluate(batch, parameters: parameters, logPosteriors: rows)
    #expect((3 * place..<300).allSatisfy { rows[$0].isNaN })
    #expect((0..<min(3 * place, 192)).allSatisfy { !rows[$0].isNaN || $0 >= place / 64 * 192 })
  }

  @Test func sizesThatDoNotFitAreRefused() {
    for channels in [6, 7] {
      let error = #expect(throws: SpecificationError.self) {
        try ComposedNetwork(
          Sequence([Attention(heads: 4), Linear(2)]), input: SampleShape(height: 3, width: 1, channels: channels))
      }
      #expect(error?.description == "attention of 4 heads does not fit on \(channels) channels")
    }
  }
}

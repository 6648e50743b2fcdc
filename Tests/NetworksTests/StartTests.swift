import Buffers
import Networks
import Testing

@Suite struct StartTests {
  /// The largest magnitude that a start may draw, by the formulas in fp64.
  private func bounds(_ start: String, _ inputs: Double, _ outputs: Double) -> (weights: Double, biases: Double) {
    switch start {
    case "uniform": (1 / inputs.squareRoot(), 1 / inputs.squareRoot())
    case "he": ((6 / inputs).squareRoot(), 0)
    default: ((6 / (inputs + outputs)).squareRoot(), 0)
    }
  }

  /// Values lie in their range and fill it; mean and variance are those of a uniform distribution.
  @Test(arguments: ["uniform", "he", "glorot"]) func startIsUniform(_ start: String) throws {
    let started = try Started("mlp:300,200,start=\(start)", inputs: 150, classes: 100, seed: 7)
    for tensor in started.network.layout.tensors {
      let number = Int(tensor.name.split(separator: ".")[1])!
      let (inputs, outputs) = [(150.0, 300.0), (300, 200), (200, 100)][number - 1]
      let bounds = bounds(start, inputs, outputs)
      let bound = tensor.name.hasSuffix(".weight") ? bounds.weights : bounds.biases
      let values = tensor.range.map { Double(started.parameters[$0]) }
      guard bound > 0 else {
        #expect(values.allSatisfy { $0 == 0 })
        continue
      }
      let count = Double(values.count)
      #expect(values.allSatisfy { abs($0) <= bound * (1 + 1e-6) })
      #expect(values.max()! > bound * (1 - 30 / count) && values.min()! < -bound * (1 - 30 / count))
      // Within five standard deviations: bound/√(3n) of the mean, variance·√(4/(5n)) of the variance.
      let mean = values.reduce(0, +) / count
      let variance = values.reduce(0) { $0 + $1 * $1 } / count
      #expect(abs(mean) < 5 * bound / (3 * count).squareRoot())
      #expect(abs(variance * 3 / (bound * bound) - 1) < 5 * (0.8 / count).squareRoot())
    }
  }

  /// The bits of the start are part of what a seed means: stored results depend on them.
  @Test(arguments: [
    ("mlp:33,7", UInt64(1), UInt64(4_624_525_996_069_937_790)),
    ("mlp:33,7", 2, 17_783_144_118_512_594_451),
    ("mlp:33,7,start=he", 1, 13_742_296_166_828_756_647),
    ("mlp:33,7,start=glorot", 1, 11_074_245_741_583_980_081),
    ("softmax", 1, 9_768_586_863_856_210_854),
  ]) func startHasStoredBits(_ model: String, _ seed: UInt64, _ hash: UInt64) throws {
    let started = try Started(model, inputs: 20, classes: 10, seed: seed)
    #expect(started.parameters.hash() == hash)
  }

  /// A value is that of its element within its tensor, whatever lies before it.
  @Test func startFollowsTheCounter() throws {
    let started = try Started("mlp:3,start=glorot", inputs: 5, classes: 2, seed: 9)
    let random = Philox(seed: 9, purpose: .initialization)
    let tensor = started.network.layout["layers.1.weight"]!
    let bound = (Float(6) / 8).squareRoot()
    for element in 0..<15 {
      #expect(started.parameters[tensor.range.lowerBound + element] == (2 * random.uniform(element, tensor: 2) - 1) * bound)
    }
  }
}

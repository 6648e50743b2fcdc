import Buffers
import Foundation
import Networks
import Testing

/// A convolution of `count` samples.
private struct ConvolutionCase: CustomTestStringConvertible, Sendable {
  let geometry: ConvolutionGeometry
  let count: Int
  var testDescription: String {
    "\(count) × \(geometry.input), \(geometry.filterCount) of \(geometry.kernel), stride \(geometry.stride), padding \(geometry.padding)"
  }

  init(geometry: ConvolutionGeometry, count: Int) { (self.geometry, self.count) = (geometry, count) }

  init(
    _ count: Int, _ height: Int, _ width: Int, _ channels: Int, _ filters: Int, _ kernel: (Int, Int), _ stride: Int,
    _ padding: Int
  ) {
    self.count = count
    geometry = ConvolutionGeometry(
      input: SampleShape(height: height, width: width, channels: channels), filterCount: filters, kernel: kernel,
      stride: stride, padding: padding)!
  }

  /// The same of an empty minibatch.
  var withoutSamples: ConvolutionCase { ConvolutionCase(geometry: geometry, count: 0) }
}

/// One, three and many channels, and numbers that are no multiples of 8 or 16; odd sizes; strides that do not reach the edge; padding;
/// a filter of one pixel, and one as large as the image, padded or not.
private let cases = [
  ConvolutionCase(3, 9, 7, 1, 2, (3, 3), 1, 0), ConvolutionCase(2, 12, 12, 1, 20, (5, 5), 1, 0),
  ConvolutionCase(2, 12, 12, 20, 50, (5, 5), 1, 0), ConvolutionCase(5, 8, 8, 3, 16, (3, 3), 1, 1),
  ConvolutionCase(1, 9, 11, 3, 5, (3, 2), 2, 0), ConvolutionCase(2, 8, 10, 17, 33, (3, 3), 2, 1),
  ConvolutionCase(2, 6, 6, 16, 32, (1, 1), 2, 0), ConvolutionCase(4, 5, 3, 7, 1, (5, 3), 1, 0),
  ConvolutionCase(1, 7, 7, 2, 3, (4, 4), 3, 2), ConvolutionCase(2, 1, 1, 3, 4, (1, 1), 1, 0),
  ConvolutionCase(3, 5, 4, 1, 1, (1, 1), 1, 0), ConvolutionCase(1, 4, 4, 9, 15, (4, 4), 1, 0),
  ConvolutionCase(2, 3, 3, 5, 17, (5, 5), 1, 1), ConvolutionCase(1, 7, 6, 24, 8, (2, 3), 2, 1),
]

/// The passes of a case on random values.
private struct PassedCase {
  /// Values in [−1, 1), as they are read and in fp64.
  typealias Values = (floats: FloatBuffer, doubles: [Double])

  let (inputs, weights, biases, delta): (Values, Values, Values, Values)
  /// What the passes made; they begin as poison.
  let (outputs, inputGradient, weightGradient, biasGradient): (FloatBuffer, FloatBuffer, FloatBuffer, FloatBuffer)

  init(_ it: ConvolutionCase) {
    let (geometry, count) = (it.geometry, it.count)
    func random(_ count: Int, _ tensor: Int) -> Values {
      let floats = FloatBuffer(count: count)
      let random = Philox(seed: 4, purpose: .tests)
      for index in 0..<count { floats[index] = 2 * random.uniform(index, tensor: tensor) - 1 }
      return (floats, floats.doubles)
    }
    func poison(_ count: Int) -> FloatBuffer {
      let buffer = FloatBuffer(count: count)
      for index in 0..<count { buffer[index] = .nan }
      return buffer
    }
    inputs = random(count * geometry.input.count, 0)
    weights = random(geometry.weightShape.reduce(1, *), 1)
    biases = random(geometry.filterCount, 2)
    delta = random(count * geometry.output.count, 3)
    (outputs, inputGradient) = (poison(count * geometry.output.count), poison(count * geometry.input.count))
    (weightGradient, biasGradient) = (poison(weights.floats.count), poison(geometry.filterCount))
    let passes = ConvolutionPasses(geometry, sampleCount: count, givesInputGradient: true)
    let scratch = ByteBuffer(count: passes.scratchByteCount)
    passes.forward(
      inputs.floats.baseAddress, weights: weights.floats.baseAddress, biases: biases.floats.baseAddress,
      into: outputs.baseAddress, scratch: scratch.baseAddress)
    passes.gradients(
      inputs.floats.baseAddress, delta.floats.baseAddress, weights: weightGradient.baseAddress,
      biases: biasGradient.baseAddress, scratch: scratch.baseAddress)
    passes.backward(
      delta.floats.baseAddress, weights: weights.floats.baseAddress, into: inputGradient.baseAddress,
      scratch: scratch.baseAddress)
  }

  /// Expects what the passes made, all within some roundings of the largest.
  func expect(outputs: [Double], inputs: [Double], weights: [Double], biases: [Double]) {
    func expectEqual(_ found: FloatBuffer, _ expected: [Double], _ what: String) {
      let largest = expected.reduce(0) { max($0, abs($1)) }
      let worst = zip(found.doubles, expected).reduce(0) { $1.0.isNaN ? .infinity : max($0, abs($1.0 - $1.1)) }
      #expect(found.count == expected.count && worst <= 3e-6 * largest, "\(what): \(worst) of \(largest)")
    }
    expectEqual(self.outputs, outputs, "outputs")
    expectEqual(inputGradient, inputs, "gradient of the inputs")
    expectEqual(weightGradient, weights, "gradient of the weights")
    expectEqual(biasGradient, biases, "gradient of the biases")
  }
}

/// oneDNN's convolutions against plain loops and against products of matrices.
@Suite struct ConvolutionTests {
  @Test(arguments: cases) private func passesMatchPlainLoops(_ it: ConvolutionCase) {
    let (geometry, count, passed) = (it.geometry, it.count, PassedCase(it))
    let (input, output, kernel) = (geometry.input, geometry.output, geometry.kernel)
    var expected = (
      outputs: [Double](repeating: 0, count: passed.delta.doubles.count),
      inputs: [Double](repeating: 0, count: passed.inputs.doubles.count),
      weights: [Double](repeating: 0, count: passed.weights.doubles.count),
      biases: [Double](repeating: 0, count: geometry.filterCount)
    )
    for sample in 0..<count {
      for row in 0..<output.height {
        for column in 0..<output.width {
          for filter in 0..<geometry.filterCount {
            let out = ((sample * output.height + row) * output.width + column) * geometry.filterCount + filter
            expected.outputs[out] += passed.biases.doubles[filter]
            expected.biases[filter] += passed.delta.doubles[out]
            for channel in 0..<input.channels {
              for y in 0..<kernel.height {
                for x in 0..<kernel.width {
                  let (inY, inX) = (
                    row * geometry.stride + y - geometry.padding, column * geometry.stride + x - geometry.padding
                  )
                  guard (0..<input.height).contains(inY), (0..<input.width).contains(inX) else { continue }
                  let from = ((sample * input.height + inY) * input.width + inX) * input.channels + channel
                  let weight = ((filter * input.channels + channel) * kernel.height + y) * kernel.width + x
                  expected.outputs[out] += passed.inputs.doubles[from] * passed.weights.doubles[weight]
                  expected.inputs[from] += passed.delta.doubles[out] * passed.weights.doubles[weight]
                  expected.weights[weight] += passed.delta.doubles[out] * passed.inputs.doubles[from]
                }
              }
            }
          }
        }
      }
    }
    passed.expect(
      outputs: expected.outputs, inputs: expected.inputs, weights: expected.weights, biases: expected.biases)
  }

  /// Of no samples the gradients of weights and biases are zeros, as products of empty matrices are.
  @Test(arguments: cases + cases.map(\.withoutSamples)) private func passesMatchProductsOfMatrices(_ it: ConvolutionCase) {
    let passed = PassedCase(it)
    let reference = ReferenceConvolution(geometry: it.geometry, sampleCount: it.count)
    let (inputs, weights, delta) = (passed.inputs.doubles, passed.weights.doubles, passed.delta.doubles)
    passed.expect(
      outputs: reference.outputs(inputs, weights: weights, biases: passed.biases.doubles),
      inputs: reference.inputGradient(delta, weights: weights), weights: reference.weightGradient(inputs, delta),
      biases: reference.biasGradient(delta))
  }

  /// On processors for which oneDNN generates code, its reference loops never run: they are a hundred times slower.
  @Test(.enabled(if: oneDNNDescription.contains("avx"), "oneDNN generates code for AVX2 and newer"), arguments: cases)
  private func noReferenceCodeRuns(_ it: ConvolutionCase) {
    for count in [it.count, 32] {
      let found = primitives { _ = ConvolutionPasses(it.geometry, sampleCount: count, givesInputGradient: true) }
      #expect(found.filter { $0.kind.hasPrefix("convolution") }.count == 3)
      #expect(found.filter(\.isReference) == [])
    }
  }

  @Test func filtersThatDoNotFitHaveNoGeometry() {
    let input = SampleShape(height: 4, width: 6, channels: 1)
    #expect(ConvolutionGeometry(input: input, filterCount: 1, kernel: (5, 5), stride: 1, padding: 0) == nil)
    #expect(ConvolutionGeometry(input: input, filterCount: 1, kernel: (4, 7), stride: 1, padding: 0) == nil)
    let fits = ConvolutionGeometry(input: input, filterCount: 1, kernel: (5, 5), stride: 1, padding: 1)
    #expect(fits?.output == SampleShape(height: 2, width: 4, channels: 1))
  }

  @Test func libraryNamesItself() {
    setProductThreads(1)
    #expect(oneDNNDescription.hasPrefix("oneDNN 2.") && oneDNNDescription.hasSuffix(", 1 thread"), "\(oneDNNDescription)")
  }
}

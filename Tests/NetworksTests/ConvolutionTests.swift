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

  init(
    _ count: Int, _ height: Int, _ width: Int, _ channels: Int, _ filters: Int, _ kernel: (Int, Int), _ stride: Int,
    _ padding: Int
  ) {
    self.count = count
    geometry = ConvolutionGeometry(
      input: SampleShape(height: height, width: width, channels: channels), filterCount: filters, kernel: kernel,
      stride: stride, padding: padding)!
  }
}

/// One, three and many channels; odd sizes; strides that do not reach the edge; padding; a filter as large as the image.
private let cases = [
  ConvolutionCase(3, 9, 7, 1, 2, (3, 3), 1, 0), ConvolutionCase(2, 12, 12, 1, 20, (5, 5), 1, 0),
  ConvolutionCase(2, 12, 12, 20, 50, (5, 5), 1, 0), ConvolutionCase(5, 8, 8, 3, 16, (3, 3), 1, 1),
  ConvolutionCase(1, 9, 11, 3, 5, (3, 2), 2, 0), ConvolutionCase(2, 8, 10, 17, 33, (3, 3), 2, 1),
  ConvolutionCase(2, 6, 6, 16, 32, (1, 1), 2, 0), ConvolutionCase(4, 5, 3, 7, 1, (5, 3), 1, 0),
  ConvolutionCase(1, 7, 7, 2, 3, (4, 4), 3, 2), ConvolutionCase(2, 1, 1, 3, 4, (1, 1), 1, 0),
]

/// oneDNN's convolutions against plain loops.
@Suite struct ConvolutionTests {
  /// Values in [−1, 1), as they are read and in fp64.
  private func random(_ count: Int, _ tensor: Int) -> (floats: FloatBuffer, doubles: [Double]) {
    let floats = FloatBuffer(count: count)
    let random = Philox(seed: 4, purpose: .tests)
    for index in 0..<count { floats[index] = 2 * random.uniform(index, tensor: tensor) - 1 }
    return (floats, floats.doubles)
  }

  /// All within some roundings of the largest.
  private func expectEqual(_ found: FloatBuffer, _ expected: [Double], _ what: String) {
    let largest = expected.reduce(0) { max($0, abs($1)) }
    let worst = zip(found.doubles, expected).reduce(0) { $1.0.isNaN ? .infinity : max($0, abs($1.0 - $1.1)) }
    #expect(found.count == expected.count && worst <= 3e-6 * largest, "\(what): \(worst) of \(largest)")
  }

  private func poison(_ count: Int) -> FloatBuffer {
    let buffer = FloatBuffer(count: count)
    for index in 0..<count { buffer[index] = .nan }
    return buffer
  }

  @Test(arguments: cases) private func passesMatchPlainLoops(_ it: ConvolutionCase) {
    let (geometry, count) = (it.geometry, it.count)
    let (input, output, kernel) = (geometry.input, geometry.output, geometry.kernel)
    let passes = ConvolutionPasses(geometry, sampleCount: count, givesInputGradient: true)
    let scratch = ByteBuffer(count: passes.scratchByteCount)
    let inputs = random(count * input.count, 0)
    let weights = random(geometry.weightShape.reduce(1, *), 1)
    let biases = random(geometry.filterCount, 2)
    let delta = random(count * output.count, 3)

    let outputs = poison(count * output.count)
    let inputGradient = poison(count * input.count)
    let (weightGradient, biasGradient) = (poison(weights.floats.count), poison(geometry.filterCount))
    passes.forward(
      inputs.floats.baseAddress, weights: weights.floats.baseAddress, biases: biases.floats.baseAddress,
      into: outputs.baseAddress, scratch: scratch.baseAddress)
    passes.gradients(
      inputs.floats.baseAddress, delta.floats.baseAddress, weights: weightGradient.baseAddress,
      biases: biasGradient.baseAddress,
      scratch: scratch.baseAddress)
    passes.backward(
      delta.floats.baseAddress, weights: weights.floats.baseAddress, into: inputGradient.baseAddress,
      scratch: scratch.baseAddress)

    var expected = (
      outputs: [Double](repeating: 0, count: outputs.count), inputs: [Double](repeating: 0, count: inputGradient.count),
      weights: [Double](repeating: 0, count: weightGradient.count), biases: [Double](repeating: 0, count: biasGradient.count)
    )
    for sample in 0..<count {
      for row in 0..<output.height {
        for column in 0..<output.width {
          for filter in 0..<geometry.filterCount {
            let out = ((sample * output.height + row) * output.width + column) * geometry.filterCount + filter
            expected.outputs[out] += biases.doubles[filter]
            expected.biases[filter] += delta.doubles[out]
            for channel in 0..<input.channels {
              for y in 0..<kernel.height {
                for x in 0..<kernel.width {
                  let (inY, inX) = (
                    row * geometry.stride + y - geometry.padding, column * geometry.stride + x - geometry.padding
                  )
                  guard (0..<input.height).contains(inY), (0..<input.width).contains(inX) else { continue }
                  let from = ((sample * input.height + inY) * input.width + inX) * input.channels + channel
                  let weight = ((filter * input.channels + channel) * kernel.height + y) * kernel.width + x
                  expected.outputs[out] += inputs.doubles[from] * weights.doubles[weight]
                  expected.inputs[from] += delta.doubles[out] * weights.doubles[weight]
                  expected.weights[weight] += delta.doubles[out] * inputs.doubles[from]
                }
              }
            }
          }
        }
      }
    }
    expectEqual(outputs, expected.outputs, "outputs")
    expectEqual(inputGradient, expected.inputs, "gradient of the inputs")
    expectEqual(weightGradient, expected.weights, "gradient of the weights")
    expectEqual(biasGradient, expected.biases, "gradient of the biases")
  }

  /// On processors for which oneDNN generates code, its reference loops never run: they are a hundred times slower.
  @Test(.enabled(if: oneDNNDescription.contains("avx"), "oneDNN generates code for AVX2 and newer"), arguments: cases)
  private func noReferenceCodeRuns(_ it: ConvolutionCase) {
    for count in [it.count, 32] {
      let passes = ConvolutionPasses(it.geometry, sampleCount: count, givesInputGradient: it.geometry.input.channels > 1)
      let names = passes.implementations
      #expect(names[0] != "" && names[2] != "" && (names[1] != "") == (it.geometry.input.channels > 1))
      #expect(!names.contains { $0.hasPrefix("ref") || $0.contains(":ref") }, "\(names)")
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

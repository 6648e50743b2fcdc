package import Buffers

/// Causal self-attention of several heads: each position gets a mean of the values of itself and those before it, weighted by how
/// well their keys fit on its query.
///
/// Reads queries, keys and values beside each other, as one linear layer makes them: each position has three blocks of width
/// channels, and in each block the channels of the first head come first. Weights are softmax(query · key / √head width), without
/// dropout. A sample keeps heads × positions² weights; tiles of 64 queries skip the keys after them, so that the work is about half
/// of all pairs. No tensors. Source: Vaswani et al. 2017.
package final class Attention: Layer {
  private static let tile = 64

  private let headCount: Int
  private var positionCount = 0
  private var width = 0
  private var needsInputGradient = false
  private var output: Plan.Output!
  private var weights: Plan.Output!
  private var inputs: UnsafePointer<Float>?

  /// Attention of `headCount` heads, which divide the width.
  package init(heads headCount: Int) {
    require(headCount > 0, "an attention of \(headCount) heads")
    self.headCount = headCount
  }

  package var summary: String? { "causal attention, \(headCount) head\(headCount == 1 ? "" : "s")" }

  package func build(_ input: SampleShape, _ plan: inout Plan) throws(SpecificationError) -> SampleShape {
    guard input.channels % 3 == 0, input.channels / 3 % headCount == 0 else {
      throw SpecificationError("attention of \(headCount) heads does not fit on \(input.channels) channels")
    }
    (positionCount, width) = (input.pixelCount, input.channels / 3)
    needsInputGradient = plan.needsInputGradient
    let shape = SampleShape(height: input.height, width: input.width, channels: width)
    output = plan.declareOutputs(shape)
    weights = plan.declareMemory(headCount * positionCount * positionCount)
    return shape
  }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float> {
    self.inputs = inputs
    let (outputs, weights) = (pass.outputs(output), pass.outputs(weights))
    for sample in 0..<pass.sampleCount {
      for head in 0..<headCount {
        let block = block(sample, head, inputs, weights)
        for rows in tiles {
          forward(block, rows, into: outputs + sample * positionCount * width + head * headWidth)
        }
      }
      pass.betweenLayers?()
    }
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float>? {
    guard let inputs else { fatalError("an attention goes backward before forward") }
    guard needsInputGradient else { return nil }
    let (result, weights) = (pass.inputGradient(besides: gradient), pass.outputs(weights))
    let byteCount = Attention.tile * positionCount * MemoryLayout<Float>.stride
    let scratch = pass.scratch(byteCount).assumingMemoryBound(to: Float.self)
    for sample in 0..<pass.sampleCount {
      for head in 0..<headCount {
        let block = block(sample, head, inputs, weights)
        let start = result + sample * positionCount * 3 * width + head * headWidth
        // The last tile has all keys, and sets their gradients; the others add.
        for rows in tiles.reversed() {
          backward(
            block, rows, gradient + sample * positionCount * width + head * headWidth, into: start, scratch: scratch)
        }
      }
      pass.betweenLayers?()
    }
    return result
  }

  private var headWidth: Int { width / headCount }
  private var scale: Float { 1 / Float(headWidth).squareRoot() }

  /// The positions by tiles.
  private var tiles: [Range<Int>] {
    stride(from: 0, to: positionCount, by: Attention.tile).map { $0..<min($0 + Attention.tile, positionCount) }
  }

  /// One head of one sample: queries, keys and values in rows `3 · width` apart, and its weights, positions × positions.
  private struct Block {
    let queries: UnsafePointer<Float>
    let keys: UnsafePointer<Float>
    let values: UnsafePointer<Float>
    let weights: UnsafeMutablePointer<Float>
  }

  private func block(
    _ sample: Int, _ head: Int, _ inputs: UnsafePointer<Float>, _ weights: UnsafeMutablePointer<Float>
  ) -> Block {
    let queries = inputs + sample * positionCount * 3 * width + head * headWidth
    return Block(
      queries: queries, keys: queries + width, values: queries + 2 * width,
      weights: weights + (sample * headCount + head) * positionCount * positionCount)
  }

  /// The outputs of a tile of queries, in rows `width` apart.
  private func forward(_ block: Block, _ rows: Range<Int>, into outputs: UnsafeMutablePointer<Float>) {
    let keyCount = rows.upperBound
    let weights = block.weights + rows.lowerBound * positionCount
    MatrixProducts.multiply(
      block.queries + rows.lowerBound * 3 * width, block.keys, transposingB: true, rowCount: rows.count, columnCount: keyCount,
      innerCount: headWidth, aStride: 3 * width, bStride: 3 * width, scale: scale, into: weights, resultStride: positionCount)
    for row in rows {
      causalSoftmax(block.weights + row * positionCount, live: row + 1, count: keyCount)
    }
    MatrixProducts.multiply(
      weights, block.values, rowCount: rows.count, columnCount: headWidth, innerCount: keyCount, aStride: positionCount,
      bStride: 3 * width, into: outputs + rows.lowerBound * width, resultStride: width)
  }

  /// The gradients of a tile's queries, set, and of the keys and values that it reads, added to.
  private func backward(
    _ block: Block, _ rows: Range<Int>, _ gradient: UnsafePointer<Float>, into result: UnsafeMutablePointer<Float>,
    scratch: UnsafeMutablePointer<Float>
  ) {
    let keyCount = rows.upperBound
    let isAdding = keyCount < positionCount
    let weights = block.weights + rows.lowerBound * positionCount
    let delta = gradient + rows.lowerBound * width
    MatrixProducts.multiply(
      weights, delta, transposingA: true, rowCount: keyCount, columnCount: headWidth, innerCount: rows.count,
      aStride: positionCount, bStride: width, into: result + 2 * width, resultStride: 3 * width, isAdding: isAdding)
    MatrixProducts.multiply(
      delta, block.values, transposingB: true, rowCount: rows.count, columnCount: keyCount, innerCount: headWidth,
      aStride: width, bStride: 3 * width, into: scratch, resultStride: positionCount)
    for row in rows {
      differentiateCausalSoftmax(
        scratch + (row - rows.lowerBound) * positionCount, weights: block.weights + row * positionCount, live: row + 1,
        count: keyCount, scale: scale)
    }
    MatrixProducts.multiply(
      scratch, block.keys, rowCount: rows.count, columnCount: headWidth, innerCount: keyCount, aStride: positionCount,
      bStride: 3 * width, into: result + rows.lowerBound * 3 * width, resultStride: 3 * width)
    MatrixProducts.multiply(
      scratch, block.queries + rows.lowerBound * 3 * width, transposingA: true, rowCount: keyCount, columnCount: headWidth,
      innerCount: rows.count, aStride: positionCount, bStride: 3 * width, into: result + width, resultStride: 3 * width,
      isAdding: isAdding)
  }
}

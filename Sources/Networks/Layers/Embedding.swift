package import Buffers

/// A vector for each token of a text: a learned one of the token, plus a learned one of its position.
///
/// Samples are token numbers, one for each position. It is the first layer: nothing has a gradient before it.
package final class Embedding: Layer {
  private let tokenCount: Int
  private let width: Int
  private let bound: Float
  private var positionCount = 0
  private var tensors: (tokens: Plan.Tensor, positions: Plan.Tensor)!
  private var output: Plan.Output!
  private var inputs: UnsafePointer<Float>?

  /// Vectors of `width` values for `tokenCount` tokens; all are drawn uniform in ±`bound`.
  package init(tokenCount: Int, width: Int, bound: Float) {
    require(tokenCount > 0 && width > 0, "an embedding of \(tokenCount) tokens in \(width) values")
    (self.tokenCount, self.width, self.bound) = (tokenCount, width, bound)
  }

  package var summary: String? { "embedding of \(tokenCount) tokens and \(positionCount) positions" }

  package func build(_ input: SampleShape, _ plan: inout Plan) throws(SpecificationError) -> SampleShape {
    guard input.channels == 1, !plan.needsInputGradient else {
      throw SpecificationError("an embedding reads tokens, not the \(input) values of a layer")
    }
    positionCount = input.pixelCount
    let declared = plan.declare([
      ("tokens.weight", [tokenCount, width], .uniform(bound)), ("positions.weight", [positionCount, width], .uniform(bound)),
    ])
    tensors = (declared[0], declared[1])
    let shape = SampleShape(height: input.height, width: input.width, channels: width)
    output = plan.declareOutputs(shape)
    return shape
  }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float> {
    self.inputs = inputs
    let outputs = pass.outputs(output)
    let (vectors, positions) = (pass.parameters(of: tensors.tokens), pass.parameters(of: tensors.positions))
    for row in 0..<pass.sampleCount * positionCount {
      let target = outputs + row * width
      target.update(from: vectors + token(inputs[row]) * width, count: width)
      add(positions + row % positionCount * width, count: width, to: target)
    }
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float>? {
    guard let inputs else { fatalError("an embedding goes backward before forward") }
    let (vectors, positions) = (pass.gradient(of: tensors.tokens), pass.gradient(of: tensors.positions))
    vectors.update(repeating: 0, count: tokenCount * width)
    positions.update(from: gradient, count: positionCount * width)
    for row in 0..<pass.sampleCount * positionCount {
      let delta = gradient + row * width
      add(delta, count: width, to: vectors + token(inputs[row]) * width)
      if row >= positionCount { add(delta, count: width, to: positions + row % positionCount * width) }
    }
    pass.ready(tensors.tokens, tensors.positions)
    return nil
  }

  private func token(_ value: Float) -> Int {
    let number = Int(exactly: value) ?? -1
    require((0..<tokenCount).contains(number), "a token \(value), of \(tokenCount) tokens")
    return number
  }
}

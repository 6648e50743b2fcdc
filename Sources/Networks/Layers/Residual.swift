package import Buffers

/// outputs = inputs + body(inputs), or shortcut(inputs) + body(inputs).
///
/// Source: He et al. 2016, "Deep residual learning for image recognition".
package final class Residual: Layer {
  private let body: any Layer
  private let shortcut: (any Layer)?
  private var valueCount = 0
  private var output: Plan.Output!

  /// A body, and a shortcut around it, the identity if it is nil.
  package init(_ body: any Layer, shortcut: (any Layer)? = nil) { (self.body, self.shortcut) = (body, shortcut) }

  package var summary: String? { shortcut == nil ? "plus the input" : "plus the shortcut" }

  package func build(_ input: SampleShape, _ plan: inout Plan) throws(SpecificationError) -> SampleShape {
    var skipped = input
    if let shortcut { skipped = try plan.build(shortcut, on: input) }
    let shape = try plan.build(body, on: input)
    guard shape == skipped else {
      throw SpecificationError("a block makes \(shape) of \(input), and what goes around it is \(skipped)")
    }
    valueCount = shape.count
    output = plan.declareOutputs(shape)
    return shape
  }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) throws -> UnsafeMutablePointer<Float> {
    let outputs = pass.outputs(output)
    let count = pass.sampleCount * valueCount
    outputs.update(from: try shortcut?.forward(inputs, pass) ?? UnsafeMutablePointer(mutating: inputs), count: count)
    add(try body.forward(inputs, pass), count: count, to: outputs)
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) throws -> UnsafeMutablePointer<Float>? {
    // Layers may overwrite the gradient that they are given: the body gets a copy.
    let copy = pass.inputGradient(besides: gradient)
    let count = pass.sampleCount * valueCount
    copy.update(from: gradient, count: count)
    let bodyGradient = try pass.holding(gradient) { try body.backward(copy, pass) }
    guard let shortcut else {
      if let bodyGradient { add(gradient, count: count, to: bodyGradient) }
      return bodyGradient
    }
    guard let bodyGradient else { return try shortcut.backward(gradient, pass) }
    guard let result = try pass.holding(bodyGradient, { try shortcut.backward(gradient, pass) }) else { return nil }
    add(bodyGradient, count: count, to: result)
    return result
  }
}

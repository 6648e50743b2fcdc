package import Buffers

/// outputs = body(inputs) + shortcut(inputs), where the shortcut is the inputs themselves or a layer that gives them the shape of the
/// body's outputs.
///
/// A normalization at the end of the body takes the sum into its own passes, with its ReLU after it. The order of the tensors is
/// that of the backward pass: the end, the body, the shortcut.
/// Source: He et al. 2016, "Deep residual learning for image recognition"; algorithms §16.3.
package final class Residual: Layer {
  private let body: any Layer
  private let shortcut: (any Layer)?
  private let end: BatchNormalization?
  private var inputCount = 0
  private var shape: SampleShape!
  private var needsInputGradient = false
  private var output: Plan.Output?

  /// A sum of what `body` and then `end` make of the inputs and what `shortcut` makes of them; nil for the inputs.
  package init(_ body: any Layer, shortcut: (any Layer)? = nil, end: BatchNormalization? = nil) {
    (self.body, self.shortcut, self.end) = (body, shortcut, end)
  }

  package func build(_ input: SampleShape, _ plan: inout Plan) throws(SpecificationError) -> SampleShape {
    (needsInputGradient, inputCount) = (plan.needsInputGradient, input.count)
    let past = try shortcut?.build(input, &plan) ?? input
    let hasTensors = plan.needsInputGradient
    plan.needsInputGradient = needsInputGradient
    shape = try body.build(input, &plan)
    if let end { shape = end.build(shape, &plan) } else { output = plan.declareOutputs(shape) }
    plan.needsInputGradient = plan.needsInputGradient || hasTensors
    guard past == shape else {
      throw SpecificationError("a shortcut of \(past) does not fit beside \(shape!)")
    }
    return shape
  }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) throws -> UnsafeMutablePointer<Float> {
    let past = try shortcut.map { UnsafePointer(try $0.forward(inputs, pass)) } ?? inputs
    pass.betweenLayers?()
    let through = try body.forward(inputs, pass)
    if let end { return try end.forward(through, adding: past, pass) }
    guard let output else { fatalError("a residual block runs before it is built") }
    let (outputs, count) = (pass.outputs(output), pass.sampleCount * shape.count)
    outputs.update(from: through, count: count)
    add(past, count: count, to: outputs)
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) throws -> UnsafeMutablePointer<Float>? {
    let result = try pass.holding(gradient) {
      if let end {
        guard let inner = try end.backwardThroughSum(gradient, pass) else { return nil as UnsafeMutablePointer<Float>? }
        return try body.backward(inner, pass)
      }
      // The body may overwrite its gradient, and the shortcut needs it, too.
      let copy = pass.inputGradient(besides: gradient)
      copy.update(from: gradient, count: pass.sampleCount * shape.count)
      return try body.backward(copy, pass)
    }
    pass.betweenLayers?()
    guard let shortcut else { return sum(result, gradient, pass) }
    guard let result else {
      _ = try shortcut.backward(gradient, pass)
      return nil
    }
    return sum(result, try pass.holding(result) { try shortcut.backward(gradient, pass) }, pass)
  }

  /// The gradient of the inputs, from those of the two branches.
  private func sum(
    _ result: UnsafeMutablePointer<Float>?, _ other: UnsafeMutablePointer<Float>?, _ pass: Pass
  ) -> UnsafeMutablePointer<Float>? {
    guard needsInputGradient, let result, let other else { return nil }
    add(other, count: pass.sampleCount * inputCount, to: result)
    return result
  }
}

package import Buffers

/// outputs = gate ∘ transform(inputs) + (1 − gate) ∘ inputs, with a gate of one sigmoid unit for each value.
///
/// The gates start almost closed if their biases are negative, so that at first a layer passes on what it reads. The gate's tensors
/// lie behind those of the transform.
/// Source: Srivastava, Greff and Schmidhuber 2015; algorithms §16.3.
package final class Highway: Layer {
  private let transform: any Layer
  private let gate: Linear
  private var count = 0
  private var needsInputGradient = false
  private var output: Plan.Output!
  private var values: (inputs: UnsafePointer<Float>, gates: UnsafeMutablePointer<Float>, changed: UnsafeMutablePointer<Float>)?

  /// A layer around `transform`, which keeps the shape of `width` values; all biases of the gate start at `gateBias`.
  package init(_ transform: any Layer, width: Int, gateBias: Float = -2, start: Initialization = .uniform) {
    self.transform = transform
    gate = Linear(width, .sigmoid, start: start, bias: gateBias)
  }

  package func build(_ input: SampleShape, _ plan: inout Plan) throws(SpecificationError) -> SampleShape {
    (needsInputGradient, count) = (plan.needsInputGradient, input.count)
    let gates = gate.build(input, &plan)
    plan.needsInputGradient = needsInputGradient
    let changed = try transform.build(input, &plan)
    plan.needsInputGradient = true
    guard changed == input, gates.count == input.count else {
      throw SpecificationError("a highway layer of \(changed) does not fit on \(input)")
    }
    output = plan.declareOutputs(input)
    return input
  }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) throws -> UnsafeMutablePointer<Float> {
    let gates = gate.forward(inputs, pass)
    pass.betweenLayers?()
    let changed = try transform.forward(inputs, pass)
    values = (inputs, gates, changed)
    let outputs = pass.outputs(output)
    eachLanes(of: pass.sampleCount * count) { index, count in
      let past = load(inputs + index, count)
      store(past + load(gates + index, count) * (load(changed + index, count) - past), outputs + index, count)
    }
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) throws -> UnsafeMutablePointer<Float>? {
    guard let (inputs, gates, changed) = values else { fatalError("a highway layer goes backward before forward") }
    // What goes past stays in the memory of the gradient.
    return try pass.holding(gradient) {
      let gateGradient = pass.inputGradient(besides: gradient)
      let changedGradient = pass.holding(gateGradient) { pass.inputGradient(besides: gradient) }
      eachLanes(of: pass.sampleCount * count) { index, count in
        let (whole, open) = (load(gradient + index, count), load(gates + index, count))
        let passed = whole * open
        store(whole * (load(changed + index, count) - load(inputs + index, count)), gateGradient + index, count)
        store(passed, changedGradient + index, count)
        store(whole - passed, gradient + index, count)
      }
      let throughTransform = try pass.holding(gateGradient) { try transform.backward(changedGradient, pass) }
      pass.betweenLayers?()
      guard let throughTransform else {
        _ = gate.backward(gateGradient, pass)
        return nil
      }
      let throughGate = pass.holding(throughTransform) { gate.backward(gateGradient, pass) }
      guard let throughGate, needsInputGradient else { return nil }
      add(throughGate, count: pass.sampleCount * count, to: throughTransform)
      add(gradient, count: pass.sampleCount * count, to: throughTransform)
      return throughTransform
    }
  }
}

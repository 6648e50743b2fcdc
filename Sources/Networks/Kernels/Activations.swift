internal import Kernels

/// The activation function between two linear layers.
public enum Activation: String, CaseIterable, Sendable {
  /// max(0, z).
  case relu
  /// 1 / (1 + e⁻ᶻ).
  case sigmoid
  /// (eᶻ − e⁻ᶻ) / (eᶻ + e⁻ᶻ), within 2⁻²² of it.
  case tanh
  /// z · ½(1 + tanh(√(2/π)(z + 0.044715 z³))), within 0.001 of z times the normal distribution's probability of less than z.
  ///
  /// Source: Hendrycks and Gimpel 2016. Known elsewhere as its tanh form, or `gelu_new`.
  case gelu

  /// Whether the derivative is computed from what the activation read; else it is from the activation's own value.
  var readsInputsBackward: Bool { self == .gelu }

  /// values = activation(values + biases), where `values` is rows × columns and `biases` has one value for each column.
  func forward(
    _ values: UnsafeMutablePointer<Float>, biases: UnsafePointer<Float>, rowCount: Int, columnCount: Int
  ) {
    switch self {
    case .relu: activate(ReLU.self, values, biases: biases, rowCount: rowCount, columnCount: columnCount)
    case .sigmoid: activate(Sigmoid.self, values, biases: biases, rowCount: rowCount, columnCount: columnCount)
    case .tanh: activate(Tanh.self, values, biases: biases, rowCount: rowCount, columnCount: columnCount)
    case .gelu: activate(GELU.self, values, biases: biases, rowCount: rowCount, columnCount: columnCount)
    }
  }

  /// Replaces a layer's activations with the delta of its linear part, incoming ∘ activation′, and sums that over the rows.
  ///
  /// `activations`, or what they were computed from if the activation reads its inputs backward, and `incoming` are rows × columns;
  /// `biasGradient` has one value for each column.
  func backward(
    _ activations: UnsafeMutablePointer<Float>, incoming: UnsafePointer<Float>, rowCount: Int, columnCount: Int,
    biasGradient: UnsafeMutablePointer<Float>
  ) {
    switch self {
    case .relu:
      differentiate(
        ReLU.self, activations, incoming: incoming, rowCount: rowCount, columnCount: columnCount, sums: biasGradient)
    case .sigmoid:
      differentiate(
        Sigmoid.self, activations, incoming: incoming, rowCount: rowCount, columnCount: columnCount, sums: biasGradient)
    case .tanh:
      differentiate(
        Tanh.self, activations, incoming: incoming, rowCount: rowCount, columnCount: columnCount, sums: biasGradient)
    case .gelu:
      if geluBackward(activations, incoming: incoming, count: rowCount * columnCount, into: activations) {
        return columnSums(of: activations, rowCount: rowCount, columnCount: columnCount, into: biasGradient)
      }
      differentiate(
        GELU.self, activations, incoming: incoming, rowCount: rowCount, columnCount: columnCount, sums: biasGradient)
    }
  }

  /// outputs = activation(inputs), of `count` values.
  package func forward(_ inputs: UnsafePointer<Float>, count: Int, into outputs: UnsafeMutablePointer<Float>) {
    switch self {
    case .relu: apply(ReLU.self, inputs, count: count, into: outputs)
    case .sigmoid: apply(Sigmoid.self, inputs, count: count, into: outputs)
    case .tanh: apply(Tanh.self, inputs, count: count, into: outputs)
    case .gelu:
      if Kernels.gelu(inputs, count: count, into: outputs) { return }
      apply(GELU.self, inputs, count: count, into: outputs)
    }
  }

  /// Replaces the gradient of `count` outputs with that of the inputs; `outputs` are the inputs if the activation reads these backward.
  package func backward(_ outputs: UnsafePointer<Float>, count: Int, gradient: UnsafeMutablePointer<Float>) {
    switch self {
    case .relu: chain(ReLU.self, outputs, count: count, gradient: gradient)
    case .sigmoid: chain(Sigmoid.self, outputs, count: count, gradient: gradient)
    case .tanh: chain(Tanh.self, outputs, count: count, gradient: gradient)
    case .gelu:
      if geluBackward(outputs, incoming: gradient, count: count, into: gradient) { return }
      chain(GELU.self, outputs, count: count, gradient: gradient)
    }
  }
}

/// values += biases, for each row.
func addBiases(_ values: UnsafeMutablePointer<Float>, biases: UnsafePointer<Float>, rowCount: Int, columnCount: Int) {
  activate(Identity.self, values, biases: biases, rowCount: rowCount, columnCount: columnCount)
}

/// sums = Σ over the rows of `values`, rows × columns.
func columnSums(
  of values: UnsafeMutablePointer<Float>, rowCount: Int, columnCount: Int, into sums: UnsafeMutablePointer<Float>
) {
  differentiate(Identity.self, values, incoming: values, rowCount: rowCount, columnCount: columnCount, sums: sums)
}

/// An activation function on lanes.
private protocol LaneActivation {
  /// The activation of z.
  static func forward(_ z: Lanes) -> Lanes
  /// incoming · activation′, given the activation's own value, or what it read.
  static func backward(_ activation: Lanes, _ incoming: Lanes) -> Lanes
}

private enum Identity: LaneActivation {
  @inline(__always) static func forward(_ z: Lanes) -> Lanes { z }
  @inline(__always) static func backward(_ activation: Lanes, _ incoming: Lanes) -> Lanes { incoming }
}

/// NaN is neither below nor at 0, and so passes through both ways.
private enum ReLU: LaneActivation {
  @inline(__always) static func forward(_ z: Lanes) -> Lanes { z.replacing(with: 0, where: z .< 0) }
  @inline(__always) static func backward(_ activation: Lanes, _ incoming: Lanes) -> Lanes {
    incoming.replacing(with: 0, where: activation .<= 0)
  }
}

private enum Sigmoid: LaneActivation {
  @inline(__always) static func forward(_ z: Lanes) -> Lanes { 1 / (1 + exponential(-z)) }
  @inline(__always) static func backward(_ activation: Lanes, _ incoming: Lanes) -> Lanes {
    incoming * (activation * (1 - activation))
  }
}

private enum Tanh: LaneActivation {
  @inline(__always) static func forward(_ z: Lanes) -> Lanes { 1 - 2 / (1 + exponential(z + z)) }
  @inline(__always) static func backward(_ activation: Lanes, _ incoming: Lanes) -> Lanes {
    incoming * (1 - activation * activation)
  }
}

/// tanh is written by the sigmoid: ½(1 + tanh(u)) = 1 / (1 + e⁻²ᵘ).
private enum GELU: LaneActivation {
  /// ½(1 + tanh(u)), and z · 2u′.
  ///
  /// Beyond ±10 the first is 0 or 1, the second counts no more, and the powers of z might overflow.
  @inline(__always) private static func gate(_ z: Lanes) -> (gate: Lanes, slope: Lanes) {
    let clamped = z.replacing(with: -10, where: z .< -10).replacing(with: 10, where: z .> 10)
    let square = clamped * clamped
    // 2√(2/π), its product with 0.044715, and three times that.
    let term = exponential(clamped * (square * 0.071_354_814 + 1.595_769_1))
    return (term / (1 + term), clamped * (square * 0.214_064_44 + 1.595_769_1))
  }

  @inline(__always) static func forward(_ z: Lanes) -> Lanes { z * gate(z).gate }

  @inline(__always) static func backward(_ z: Lanes, _ incoming: Lanes) -> Lanes {
    let (gate, slope) = gate(z)
    return incoming * (gate + slope * (gate * (1 - gate)))
  }
}

private func activate<Function: LaneActivation>(
  _ function: Function.Type, _ values: UnsafeMutablePointer<Float>, biases: UnsafePointer<Float>, rowCount: Int,
  columnCount: Int
) {
  let whole = columnCount & ~15
  let rest = columnCount - whole
  for rowIndex in 0..<rowCount {
    let row = values + rowIndex * columnCount
    var column = 0
    while column < whole {
      Function.forward(Lanes(at: row + column) + Lanes(at: biases + column)).store(at: row + column)
      column += 16
    }
    if rest > 0 {
      let sum = Lanes(at: row + whole, count: rest, padding: 0) + Lanes(at: biases + whole, count: rest, padding: 0)
      Function.forward(sum).store(at: row + whole, count: rest)
    }
  }
}

/// Rows are added in ascending order: the sums stay in the first-level cache, and the matrices are read in memory order.
private func differentiate<Function: LaneActivation>(
  _ function: Function.Type, _ activations: UnsafeMutablePointer<Float>, incoming: UnsafePointer<Float>, rowCount: Int,
  columnCount: Int, sums: UnsafeMutablePointer<Float>
) {
  let whole = columnCount & ~15
  let rest = columnCount - whole
  sums.update(repeating: 0, count: columnCount)
  for rowIndex in 0..<rowCount {
    let row = activations + rowIndex * columnCount
    let source = incoming + rowIndex * columnCount
    var column = 0
    while column < whole {
      let delta = Function.backward(Lanes(at: row + column), Lanes(at: source + column))
      delta.store(at: row + column)
      (Lanes(at: sums + column) + delta).store(at: sums + column)
      column += 16
    }
    if rest > 0 {
      let delta = Function.backward(
        Lanes(at: row + whole, count: rest, padding: 0), Lanes(at: source + whole, count: rest, padding: 0))
      delta.store(at: row + whole, count: rest)
      (Lanes(at: sums + whole, count: rest, padding: 0) + delta).store(at: sums + whole, count: rest)
    }
  }
}

private func apply<Function: LaneActivation>(
  _ function: Function.Type, _ inputs: UnsafePointer<Float>, count: Int, into outputs: UnsafeMutablePointer<Float>
) {
  let whole = count & ~15
  var index = 0
  while index < whole {
    Function.forward(Lanes(at: inputs + index)).store(at: outputs + index)
    index += 16
  }
  if count > whole {
    let rest = count - whole
    Function.forward(Lanes(at: inputs + whole, count: rest, padding: 0)).store(at: outputs + whole, count: rest)
  }
}

private func chain<Function: LaneActivation>(
  _ function: Function.Type, _ outputs: UnsafePointer<Float>, count: Int, gradient: UnsafeMutablePointer<Float>
) {
  let whole = count & ~15
  var index = 0
  while index < whole {
    Function.backward(Lanes(at: outputs + index), Lanes(at: gradient + index)).store(at: gradient + index)
    index += 16
  }
  if count > whole {
    let rest = count - whole
    Function.backward(
      Lanes(at: outputs + whole, count: rest, padding: 0), Lanes(at: gradient + whole, count: rest, padding: 0)
    ).store(at: gradient + whole, count: rest)
  }
}

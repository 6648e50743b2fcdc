internal import CKernels

// The exponential function, and what is made of it, by the vectors of this processor. The loops for every processor stand in
// `Networks`, beside the definitions, and have the same bits.

/// Σ e^(value − maximum) over 16 lanes that are added by halves; nil on the portable path, which leaves everything as it is.
///
/// - Parameters:
///   - values: `count` values.
///   - count: Any number.
///   - maximum: What is subtracted from each.
///   - terms: Set to the terms, and perhaps the same memory; nil if they are not needed.
public func exponentialSum(
  _ values: UnsafePointer<Float>, count: Int, maximum: Float, storingInto terms: UnsafeMutablePointer<Float>?
) -> Float? {
  ck_table()?.pointee.exponential_sum(values, count, maximum, terms)
}

/// outputs = GELU(inputs), in its tanh form; false on the portable path, which leaves everything as it is.
public func gelu(_ inputs: UnsafePointer<Float>, count: Int, into outputs: UnsafeMutablePointer<Float>) -> Bool {
  guard let kernels = ck_table() else { return false }
  kernels.pointee.gelu(inputs, count, outputs)
  return true
}

/// deltas = incoming · GELU′(inputs), perhaps in the memory of either; false on the portable path, which leaves everything as it is.
public func geluBackward(
  _ inputs: UnsafePointer<Float>, incoming: UnsafePointer<Float>, count: Int, into deltas: UnsafeMutablePointer<Float>
) -> Bool {
  guard let kernels = ck_table() else { return false }
  kernels.pointee.gelu_backward(inputs, incoming, count, deltas)
  return true
}

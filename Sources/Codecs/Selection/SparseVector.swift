internal import Buffers

/// Some values of a vector with their indices, which ascend without duplicates.
public struct SparseVector: Hashable, Sendable {
  /// The indices, ascending.
  public var indices: [UInt32]
  /// The values, one for each index.
  public var values: [Float]

  /// Creates a vector with these values, and zeros elsewhere.
  public init(indices: [UInt32] = [], values: [Float] = []) {
    require(indices.count == values.count, "\(indices.count) indices and \(values.count) values")
    self.indices = indices
    self.values = values
  }

  /// The number of values.
  public var count: Int { indices.count }
}

internal import Buffers

/// Some values of a vector and where they are: indices ascending, each at most once.
public struct SparseVector: Hashable, Sendable {
  /// Ascending.
  public var indices: [UInt32]
  /// One for each index.
  public var values: [Float]

  /// A vector with these values, and zeros elsewhere.
  public init(indices: [UInt32] = [], values: [Float] = []) {
    require(indices.count == values.count, "\(indices.count) indices and \(values.count) values")
    self.indices = indices
    self.values = values
  }

  /// How many values there are.
  public var count: Int { indices.count }
}

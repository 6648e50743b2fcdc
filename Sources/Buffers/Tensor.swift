/// A named range of a flat buffer with a shape.
public struct Tensor: Hashable, Sendable {
  /// How the gradient of a tensor may travel.
  public enum Kind: Hashable, Sendable {
    /// Encoded, as codecs do it.
    case coded
    /// As floats whatever the codec: what is small, and whose errors weigh more than its bytes.
    case raw
  }

  /// For example `layers.3.weight`.
  public let name: String
  /// For example `[outputs, inputs]`; a vector has one entry.
  public let shape: [Int]
  /// Its range in the flat buffer.
  public let range: Range<Int>
  /// How its gradient may travel.
  public let kind: Kind

  /// The values that belong to one output unit, an index of the first dimension: those that feed it, or its bias.
  public var unitLength: Int { count / max(shape.first ?? 1, 1) }
  /// The length of a row: the values that feed one output unit, for example the whole filter of a convolution; a vector is one row.
  public var rowLength: Int { shape.count > 1 ? unitLength : count }
  /// The number of values.
  public var count: Int { range.count }
}

/// How the tensors of a model are placed in one flat buffer, without gaps.
///
/// The order is the backward order: the gradient of the first tensor is ready first.
public struct TensorLayout: Hashable, Sendable {
  /// In the order of the buffer.
  public private(set) var tensors: [Tensor] = []

  /// An empty layout.
  public init() {}

  /// Tensors of these names and shapes, one after another.
  public init(_ shapes: [(name: String, shape: [Int])]) {
    for (name, shape) in shapes { append(name, shape: shape) }
  }

  /// The number of values in the flat buffer.
  public var count: Int { tensors.last?.range.upperBound ?? 0 }

  /// Adds a tensor at the end.
  public mutating func append(_ name: String, shape: [Int], kind: Tensor.Kind = .coded) {
    let size = shape.reduce(1, *)
    require(size >= 0 && !tensors.contains { $0.name == name }, "two tensors named \(name)")
    tensors.append(Tensor(name: name, shape: shape, range: count..<count + size, kind: kind))
  }

  /// The tensor of that name.
  public subscript(name: String) -> Tensor? { tensors.first { $0.name == name } }

  /// The tensor that holds the value at `index` of the flat buffer.
  public func tensor(at index: Int) -> Tensor? { tensors.first { $0.range.contains(index) } }
}

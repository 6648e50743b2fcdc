public import Buffers

/// Which parameters weight decay acts on: `decay=all` or `decay=matrices`.
public enum DecayScope: String, CaseIterable, Sendable {
  /// All.
  case all
  /// Tensors of two or more dimensions: weights, but neither biases nor scales.
  case matrices

  /// Reads the key of a specification.
  init(_ specification: Specification, default standard: DecayScope) throws(SpecificationError) {
    self = try specification.choice("decay", default: standard)
  }

  /// The key of a specification, for `train list`.
  static func key(default standard: DecayScope) -> (name: String, meaning: String) {
    (
      "decay",
      "what --weight-decay acts on: all, biases and gains too; or matrices, tensors of two or more dimensions alone "
        + "(\(standard.rawValue))"
    )
  }

  /// Whether the values of `tensor` decay.
  public func includes(_ tensor: Tensor) -> Bool { self == .all || tensor.shape.count > 1 }
}

/// A flat buffer in ranges that decay and ranges that do not, in turn.
struct DecayRanges {
  private var ranges: [(end: Int, decays: Bool)] = []

  /// The ranges of `layout`; all is one range if the decay is 0.
  init(_ layout: TensorLayout, _ scope: DecayScope, decay: Float) {
    for tensor in layout.tensors where !tensor.range.isEmpty {
      let decays = decay != 0 && scope.includes(tensor)
      if ranges.last?.decays == decays { ranges.removeLast() }
      ranges.append((tensor.range.upperBound, decays))
    }
  }

  /// Calls `body` with each part of `range` that decays, or does not, as a whole.
  func split(_ range: Range<Int>, _ body: (_ part: Range<Int>, _ decays: Bool) -> Void) {
    var (start, index) = (range.lowerBound, ranges.partitionPoint { $0.end > range.lowerBound })
    while start < range.upperBound {
      let end = min(ranges[index].end, range.upperBound)
      body(start..<end, ranges[index].decays)
      (start, index) = (end, index + 1)
    }
  }
}

/// Weight decay beside the gradient: an update of a whole step at the rate η also takes ηλ of each parameter that decays.
public struct DecayBeside {
  private let decay: Float
  private let count: Int
  private let ranges: DecayRanges

  init(_ ranges: DecayRanges, decay: Float, count: Int) { (self.ranges, self.decay, self.count) = (ranges, decay, count) }

  /// The share that an update at this rate takes.
  public func shrinkage(at rate: Float) -> Float { Float(Double(rate) * Double(decay)) }

  /// Calls `body` with each range of parameters that decay.
  public func forEachRange(_ body: (Range<Int>) -> Void) {
    if count > 0 { ranges.split(0..<count) { if $1 { body($0) } } }
  }
}

public import Buffers

/// How tensors are cut into groups, the runs of values that share the statistics of a code.
///
/// A group never crosses the end of a tensor. Tensors that travel as floats (`Tensor.Kind.raw`) are cut into single values, for
/// which every code would be longer than the value itself, so that `GroupCoder` sends them raw.
public enum Grouping: Hashable, Sendable, CustomStringConvertible {
  /// Each row of a tensor is a group (all inputs of one output unit, as in the paper; `Tensor.rowLength`).
  ///
  /// A row longer than ``longestRow`` is cut into the fewest pieces, equally long up to a multiple of 32, the last one shorter.
  case row
  /// Each tensor is cut into groups of the given number of values, the last one shorter.
  case elements(Int)

  /// The largest number of values of a row that is one group.
  public static let longestRow = 4096

  /// The groups of all tensors, ascending and without gaps, as ranges of the flat buffer.
  public func groups(of layout: TensorLayout) -> [Range<Int>] {
    var groups: [Range<Int>] = []
    for tensor in layout.tensors where !tensor.range.isEmpty {
      guard tensor.kind == .coded else {
        Grouping.cut(tensor.range, every: 1, into: &groups)
        continue
      }
      switch self {
      case .row:
        let length = tensor.rowLength
        let pieces = (length + Grouping.longestRow - 1) / Grouping.longestRow
        let piece = pieces == 1 ? length : ((length + pieces - 1) / pieces + 31) / 32 * 32
        for row in stride(from: tensor.range.lowerBound, to: tensor.range.upperBound, by: length) {
          Grouping.cut(row..<row + length, every: piece, into: &groups)
        }
      case .elements(let count):
        Grouping.cut(tensor.range, every: count, into: &groups)
      }
    }
    return groups
  }

  /// The grouping as written in a specification: `row`, or the number of elements.
  public var description: String {
    switch self {
    case .row: "row"
    case .elements(let count): "\(count)"
    }
  }

  /// Reads `row` or a number of elements.
  init(_ specification: Specification, key: String, default standard: Grouping = .row) throws(SpecificationError) {
    let text = specification.options[key] ?? standard.description
    if text == "row" {
      self = .row
    } else if let count = Int(text), (1...1 << 18).contains(count) {
      self = .elements(count)
    } else {
      throw SpecificationError(
        "'\(specification)': \(key) is 'row' or a whole number of elements, 1 to \(1 << 18), not '\(text)'")
    }
  }

  private static func cut(_ range: Range<Int>, every count: Int, into groups: inout [Range<Int>]) {
    for start in stride(from: range.lowerBound, to: range.upperBound, by: count) {
      groups.append(start..<min(start + count, range.upperBound))
    }
  }
}

internal import CMorse

#if canImport(Glibc)
  internal import Glibc
#endif

/// Where the values of an array lie in the memory of the caller, in order.
struct Pieces {
  private var pieces: [(range: Range<Int>, values: UnsafeMutablePointer<Float>)] = []

  /// Those of the caller, which are in `stream` and do not overlap.
  init(_ given: UnsafePointer<morse_piece>?, count: Int64, in stream: Stream) throws {
    try demand(count >= 0 && count < 1 << 31, "the number of pieces is \(count)")
    guard count > 0 else { return }
    guard let given else { throw Failure.usage("the pieces were not given: the pointer is null") }
    for piece in UnsafeBufferPointer(start: given, count: Int(count)) {
      let range = try stream.range(piece.offset, piece.count)
      guard !range.isEmpty else { continue }
      guard let values = piece.values else { throw Failure.usage("the piece \(range) has no memory: the pointer is null") }
      pieces.append((range, values))
    }
    pieces.sort { $0.range.lowerBound < $1.range.lowerBound }
    for (piece, next) in zip(pieces, pieces.dropFirst()) {
      try demand(piece.range.upperBound <= next.range.lowerBound, "the pieces \(piece.range) and \(next.range) overlap")
    }
  }

  /// The runs of values, in order.
  var all: [(range: Range<Int>, values: UnsafeMutablePointer<Float>)] { pieces }

  /// Copies values of the array to the pieces that hold them.
  func set(_ range: Range<Int>, _ values: UnsafePointer<Float>) {
    var (low, high) = (0, pieces.count)
    while low < high {
      let middle = (low + high) / 2
      if pieces[middle].range.upperBound <= range.lowerBound { low = middle + 1 } else { high = middle }
    }
    while low < pieces.count && pieces[low].range.lowerBound < range.upperBound {
      let part = pieces[low].range.clamped(to: range)
      memcpy(
        pieces[low].values + (part.lowerBound - pieces[low].range.lowerBound), values + (part.lowerBound - range.lowerBound),
        4 * part.count)
      low += 1
    }
  }

  /// Sets all values of all pieces.
  func fill(_ value: Float) {
    for piece in pieces { piece.values.update(repeating: value, count: piece.range.count) }
  }
}

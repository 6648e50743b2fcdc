internal import Buffers
internal import Kernels

/// The values of a gradient that cross as floats beside factors of matrices: ranges of the flat buffer, one after another in a message.
struct FloatRanges: Sendable {
  private var ranges: [Range<Int>] = []
  /// The number of values.
  private(set) var count = 0

  mutating func append(_ range: Range<Int>) {
    guard !range.isEmpty else { return }
    ranges.append(range)
    count += range.count
  }

  /// Copies them from a gradient.
  func gather(from gradient: FloatBuffer, into values: UnsafeMutablePointer<Float>) {
    var place = values
    for range in ranges {
      copy(gradient.baseAddress + range.lowerBound, count: range.count, to: place)
      place += range.count
    }
  }

  /// Passes their sums on.
  func deliver(_ sums: UnsafePointer<Float>, to sink: Sink) {
    var place = sums
    for range in ranges {
      sink.take(place, in: range)
      place += range.count
    }
  }
}

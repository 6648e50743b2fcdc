internal import Buffers
internal import Kernels

/// Chooses the k values of largest magnitude from a vector that arrives in pieces.
///
/// Values at or above a rising limit are kept as candidates; when their memory is full, the k largest stay and the smallest of
/// them sets the next limit. So the choice is exact for every vector, is made in one pass, and takes time in proportion to the
/// length even if the values ascend. The order is that of ``MagnitudeThreshold``; fewer than k are chosen if fewer are nonzero.
///
/// - Cost: One pass; memory for about 4k candidates of 8 bytes.
public struct LargestMagnitudes: ~Copyable {
  private let k: Int
  /// The smallest pattern that is kept now.
  private var limit: UInt32
  private var count = 0
  private let capacity: Int
  private let indices: UnsafeMutablePointer<UInt32>
  private let values: UnsafeMutablePointer<Float>

  /// The number of values read between two checks of the room.
  private static let step = 4096

  /// Chooses the `k` largest of the values whose pattern is at least `limit`.
  public init(k: Int, atLeast limit: UInt32 = 1) {
    require(k >= 0, "a choice of \(k) values")
    require(limit > 0, "zeros are never chosen")
    self.k = k
    self.limit = limit
    // The vector loops write up to sixteen places beyond what they find.
    capacity = k + max(3 * k, 1 << 14) + Self.step
    indices = .allocate(capacity: capacity + 16)
    values = .allocate(capacity: capacity + 16)
  }

  deinit {
    indices.deallocate()
    values.deallocate()
  }

  /// Reads the values of the indices first ..< first + count; pieces come in the order of their indices.
  public mutating func add(_ piece: UnsafePointer<Float>, count pieceCount: Int, at first: Int) {
    require(first + pieceCount <= 1 << 32, "indices are of 32 bits")
    guard k > 0 else { return }
    for start in stride(from: 0, to: pieceCount, by: Self.step) {
      let length = min(Self.step, pieceCount - start)
      if count + length > capacity { compact() }
      let (place, index) = (UInt32(truncatingIfNeeded: first + start), count)
      count += selectAtLeast(
        piece + start, count: length, key: limit, first: place, indices: indices + index, selected: values + index)
    }
  }

  /// Keeps the k largest candidates; from then on a value must be larger than the smallest of them.
  private mutating func compact() {
    guard count > k else { return }
    let threshold = MagnitudeThreshold(of: values, count: count, k: k)
    count = threshold.compact(indices, values, count: count)
    limit = threshold.key + 1
  }

  /// The chosen values.
  public consuming func chosen() -> SparseVector {
    compact()
    return SparseVector(
      indices: Array(UnsafeBufferPointer(start: indices, count: count)),
      values: Array(UnsafeBufferPointer(start: values, count: count)))
  }
}

/// The `k` values of largest magnitude, in the order of ``MagnitudeThreshold``; fewer if fewer are nonzero.
///
/// - Cost: About one read of the vector. A limit estimated from a sample rules out most candidates; if fewer than k values
///   reach it, there is a second pass without it.
public func largestMagnitudes(_ values: UnsafePointer<Float>, count: Int, k: Int) -> SparseVector {
  func chosen(atLeast limit: UInt32) -> SparseVector {
    var selection = LargestMagnitudes(k: min(k, count), atLeast: limit)
    selection.add(values, count: count, at: 0)
    return selection.chosen()
  }
  let guess = LimitGuess.limit(k: k, of: count) { sample in
    for n in 0..<LimitGuess.sampleCount { sample[n] = values[LimitGuess.place(n, of: LimitGuess.sampleCount, below: count)] }
  }
  let first = chosen(atLeast: guess)
  return first.count >= k || guess == 1 ? first : chosen(atLeast: 1)
}

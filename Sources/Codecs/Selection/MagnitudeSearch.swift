internal import Buffers
internal import Kernels

/// The order of magnitudes by which values are chosen: by the bit pattern without the sign, larger first, and for equal
/// patterns by the index, lower first.
///
/// It is a total order of all finite values, so that a choice is the same everywhere. Zeros are never chosen.
public struct MagnitudeThreshold: Hashable, Sendable {
  /// The smallest pattern that is chosen; at least 1.
  public let key: UInt32
  /// The number of values of exactly this pattern that are chosen, the first ones; `Int.max` for all.
  public let tieCount: Int

  /// Creates a threshold; by default that of all nonzero values.
  public init(key: UInt32 = 1, tieCount: Int = .max) {
    require(key > 0, "zeros are never chosen")
    self.key = key
    self.tieCount = tieCount
  }

  /// Creates the threshold of the `k` largest magnitudes of `values`, or of all nonzero values if there are at most k.
  init(of values: UnsafePointer<Float>, count: Int, k: Int) {
    if let (key, tieCount) = largestPatterns(of: values, count: count, k: k) {
      self.init(key: key, tieCount: tieCount)
    } else {
      self.init()
    }
  }

  /// The pattern by which a value is ordered.
  @inline(__always)
  public static func key(of value: Float) -> UInt32 { value.bitPattern & 0x7FFF_FFFF }

  /// The number of values that a place with `count` values at the threshold chooses, if the places before it have `before`.
  public func ties(of count: Int, after before: Int) -> Int { max(0, min(count, tieCount - min(before, tieCount))) }

  /// Keeps the chosen ones among `count` candidates in the order of their indices, and returns their number.
  func compact(_ indices: UnsafeMutablePointer<UInt32>, _ values: UnsafeMutablePointer<Float>, count: Int) -> Int {
    var (kept, ties) = (0, tieCount)
    for place in 0..<count {
      let key = Self.key(of: values[place])
      if key == self.key { ties -= 1 }
      // Written in any case, so that nothing depends on an unpredictable branch.
      indices[kept] = indices[place]
      values[kept] = values[place]
      kept += key > self.key || key == self.key && ties >= 0 ? 1 : 0
    }
    return kept
  }

  /// The chosen ones among candidates in the order of their indices, if places before this one have `before` values at the
  /// threshold.
  public func chosen(from candidates: SparseVector, tiesBefore before: Int = 0) -> SparseVector {
    var rest = ties(of: .max, after: before)
    var chosen = SparseVector()
    for (index, value) in zip(candidates.indices, candidates.values) {
      let key = Self.key(of: value)
      guard key >= self.key else { continue }
      if key == self.key {
        guard rest > 0 else { continue }
        rest -= 1
      }
      chosen.indices.append(index)
      chosen.values.append(value)
    }
    return chosen
  }

  /// The number of values exactly at the threshold.
  public func tieCount(in values: [Float]) -> Int { values.count { Self.key(of: $0) == key } }
}

/// Finds the k-th largest magnitude of values spread over several places, by four counts of at most 256 bins.
///
/// Each place counts the next digit of its values (8, 8, 8 and 7 bits of the 31, the highest first) among those that match the
/// digits so far; the counts are added over all places, which is exact; then every place takes the same step:
///
///     var search = MagnitudeSearch(k: k)
///     while let bins = search.binCount {
///       let counts = allReduce(search.counts(of: values))     // 2 KiB or less
///       search.narrow(by: counts)
///     }
///     let threshold = search.threshold
///
/// A place needs to keep only its own k largest values. Afterwards, an exclusive scan of
/// ``MagnitudeThreshold/tieCount(in:)`` over the places gives each its share of the ties.
///
/// Source: radix selection; algorithms §2.6.
/// - Cost: Four all-reduces of 256, 256, 256 and 128 integers of 64 bits, and one scan of 8 bytes.
public struct MagnitudeSearch: Hashable, Sendable {
  private static let widths = [8, 8, 8, 7]

  /// The number of values still to be chosen among those that match the prefix.
  private var wanted: Int
  private var prefix: UInt32 = 0
  private var digit = 0
  private var isEverything = false

  /// Starts the search for the k-th largest magnitude of all places.
  public init(k: Int) {
    require(k > 0, "the largest \(k) values are none")
    wanted = k
  }

  /// The number of counts of the next round; nil when the threshold is found.
  public var binCount: Int? { digit == Self.widths.count || isEverything ? nil : 1 << Self.widths[digit] }

  /// The number of bits below the next digit.
  private var shift: Int { Self.widths[(digit + 1)...].reduce(0, +) }

  /// This place's counts for the next round.
  public func counts(of values: [Float]) -> [Int] { values.withUnsafeBufferPointer { counts(of: $0) } }

  /// This place's counts for the next round.
  public func counts(of values: UnsafeBufferPointer<Float>) -> [Int] {
    guard let binCount else { fatalError("the threshold is found") }
    var counts = [Int](repeating: 0, count: binCount)
    let (shift, width) = (UInt32(shift), UInt32(Self.widths[digit]))
    counts.withUnsafeMutableBufferPointer { counts in
      for value in values {
        let key = MagnitudeThreshold.key(of: value)
        guard key &>> (shift &+ width) == prefix, key != 0 else { continue }
        counts[Int(key &>> shift) & (counts.count - 1)] += 1
      }
    }
    return counts
  }

  /// Takes the next step, given the sum of all places' counts.
  public mutating func narrow(by counts: [Int]) {
    require(counts.count == binCount, "\(counts.count) counts where the round has \(binCount ?? 0)")
    if counts.reduce(0, +) <= wanted, digit == 0 {
      isEverything = true
      return
    }
    var bin = counts.count - 1
    while counts[bin] < wanted {
      wanted -= counts[bin]
      bin -= 1
    }
    prefix = prefix << UInt32(Self.widths[digit]) | UInt32(bin)
    digit += 1
  }

  /// The threshold, once ``binCount`` is nil.
  public var threshold: MagnitudeThreshold {
    require(binCount == nil, "the threshold is not found yet")
    return isEverything ? MagnitudeThreshold() : MagnitudeThreshold(key: prefix, tieCount: wanted)
  }
}

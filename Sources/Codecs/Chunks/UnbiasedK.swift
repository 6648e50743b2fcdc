internal import Buffers
internal import Kernels

/// About k values of a group, the larger the likelier, so that what arrives is right on average with the least error, `unbiased-k`.
///
/// With v = (gradient + residual) + 0.0 and m such that Σ min(1, |v|/m) = k, a value with |v| ≥ m is sent as it is, and each other one
/// with probability |v|/m as ±m. If at most k values are not zero, all are sent. A code is a stream of bits, padded to whole bytes:
///
///     c           in ⌈log₂(k + 2)⌉ bits: k, or one more or less
///     indices     by `index`: ``IndexChoice``
///     fp32        m
///     values      a bit, 1 for a value that is sent as it is, and its 32 bits; or 0, and its sign
///
/// The small values are drawn together (systematic sampling: Σ|v|/m along the group passes a number of the form u + i, with one
/// random u in [0, 1)), so that their number does not vary. What is not sent is lost; the error is Σ v² (1/p − 1).
///
/// Source: Wangni, Wang, Liu and Zhang 2018, "Gradient sparsification for communication-efficient distributed optimization", which is
/// ATOMO (Wang et al. 2018) for single values; algorithms §4.6.
/// - Cost: For 64 of 4 096 values some 600 to 2 600 bits, by how many are sent as they are.
struct UnbiasedK: SparseCodec {
  let name = "unbiased-k"
  let hasVaryingLength = true
  let isSparse = true
  let keepsRemainder = false
  let isUnbiased = true
  let specification: String
  var grouping: Grouping { .elements(chunk) }
  private let k: Amount
  private let chunk: Int
  private let index: IndexChoice

  private init(_ specification: Specification) throws(SpecificationError) {
    chunk = try specification.integer("chunk", default: 4096, in: 1...1 << 18)
    k = try specification.amount("k", default: "1/64", ofChunk: chunk)
    index = try specification.choice("index", default: IndexChoice.auto)
    self.specification = "unbiased-k:k=\(k),chunk=\(chunk),index=\(index.rawValue)"
  }

  private func expectedCount(of count: Int) -> Int { count == 0 ? 0 : k.share(of: count, in: chunk) }

  /// The most values of a code.
  private func most(of count: Int) -> Int { min(count, expectedCount(of: count) + 1) }

  private func counterBits(of count: Int) -> Int { Int.bitWidth - most(of: count).leadingZeroBitCount }

  func codeByteCount(of count: Int) -> Int {
    let most = most(of: count)
    return (counterBits(of: count) + index.mostBits(count: most, below: count) + 32 + 33 * most + 31) / 32 * 4
  }

  /// m, rounded up to fp32; 0 if no more than k values are not zero.
  private func magnitude(of v: UnsafePointer<Float>, count: Int) -> Float {
    let k = expectedCount(of: count)
    guard (0..<count).reduce(0, { $0 + (v[$1] == 0 ? 0 : 1) }) > k else { return 0 }
    var (m, whole) = (Double.infinity, 0)
    while true {
      // Values of m and more are sent in any case, and leave less room for the others, which m then shrinks to.
      var (sum, large) = (0.0, 0)
      for i in 0..<count {
        let value = Double(v[i].magnitude)
        if value >= m { large += 1 } else { sum += value }
      }
      guard m == .infinity || large > whole, large < k else { break }
      (m, whole) = (sum / Double(k - large), large)
    }
    let rounded = Float(m)
    return Double(rounded) < m ? rounded.nextUp : rounded
  }

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    guard count > 0 else { return 0 }
    let most = most(of: count)
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { room -> Int? in
      withUnsafeTemporaryAllocation(of: UInt32.self, capacity: most) { places -> Int? in
        let (v, indices) = (room.baseAddress!, places.baseAddress!)
        addResidual(gradient, residual, times: 1, count: count, into: v)
        guard allFinite(v, count: count, limit: .greatestFiniteMagnitude) else { return nil }
        let m = magnitude(of: v, count: count)
        guard m.isFinite else { return nil }
        let words = context.random(.unbiasedSparsity).words(quad: 0)
        var (passed, found) = (Double(UInt64(words[0]) << 16 | UInt64(words[1] >> 16)) * 0x1p-48, 0)
        for i in 0..<count where v[i] != 0 {
          let isWhole = v[i].magnitude >= m
          if !isWhole { passed += Double(v[i].magnitude) / Double(m) }
          guard isWhole || passed >= 1, found < most else { continue }
          if !isWhole { passed -= 1 }
          indices[found] = UInt32(truncatingIfNeeded: i)
          found += 1
        }
        residual.update(repeating: 0, count: count)
        guard found > 0 else { return 0 }
        var writer = BitWriter(code)
        writer.write(UInt64(found), counterBits(of: count))
        index.write(UnsafeBufferPointer(start: indices, count: found), below: count, to: &writer)
        writer.write(UInt64(m.bitPattern), 32)
        for place in 0..<found {
          let value = v[Int(indices[place])]
          if value.magnitude >= m {
            writer.write(1 | UInt64(value.bitPattern) << 1, 33)
          } else {
            writer.write(value < 0 ? 2 : 0, 2)
          }
        }
        return writer.finish()
      }
    }
  }

  @inline(__always)
  func read(
    _ code: UnsafeRawPointer, _ byteCount: Int, _ count: Int, _ body: (_ place: Int, _ value: Float) -> Void
  ) -> Bool {
    var reader = BitReader(code, byteCount: byteCount)
    let found = Int(reader.read(counterBits(of: count)))
    guard found <= most(of: count), found > 0 else { return false }
    return withUnsafeTemporaryAllocation(of: UInt32.self, capacity: found) { indices in
      guard index.read(into: indices, below: count, from: &reader) else { return false }
      let m = Float(bitPattern: UInt32(reader.read(32)))
      for place in 0..<found {
        let isWhole = reader.read(1) == 1
        let value = isWhole ? Float(bitPattern: UInt32(reader.read(32))) : reader.read(1) == 1 ? -m : m
        body(Int(indices[place]), value)
      }
      return reader.isAtEnd
    }
  }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "unbiased-k", "values of each chunk by chance, larger ones likelier, right on average (Wangni et al. 2018)",
    keys: [
      ("k", "values that are sent of a chunk, to within one: a number or a share (1/64)"),
      ("chunk", "values of a tensor that are chosen from together (4096)"),
      ("index", "how indices are written: elias-fano, gaps, bitmap, or auto: the shortest of them (auto)"),
    ]
  ) { try UnbiasedK($0) }
}

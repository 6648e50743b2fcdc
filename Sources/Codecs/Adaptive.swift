internal import Buffers
internal import Kernels

/// The cheapest of several codes that carries enough of a group, chosen anew for every group of every exchange, `adaptive`.
///
///     uint32  the place of the code in the list, little endian
///     code    as that code writes it
///
/// With v = gradient + residual, the codes of ``ladder`` are tried in turn; the first one with ‖v − C(v)‖² ≤ (1 − δ)‖v‖² is sent, or
/// else the last, bf16, which loses 2⁻¹⁸ of the squares of values that are normal numbers. So every code is a contraction by δ, whatever
/// the values are: a few large ones cross alone, values that are alike as signs, and what neither fits in more bits. Residuals are
/// of the gradient, so that they go from one code to the next. Receivers read which it is from the code alone; ranks, and owners,
/// choose by themselves. Zeros take no code.
///
/// Source: local compression, algorithms §12.2.
/// - Cost: at most 8 + 4⌈n/2⌉ bytes per group, with the length in front of it; encoding is as many passes as codes are tried.
struct Adaptive: Codec {
  /// The codes, from few bits to many.
  static let ladder = ["chunk-top-k:values=two", "ef-sign", "codebook:bits=2", "uniform:bits=4", "uniform", "bf16"]

  private static let headerByteCount = 4
  let name = "adaptive"
  let hasVaryingLength = true
  let isIdentity = false
  let grouping: Grouping
  /// δ.
  private let delta: Double
  private let codes: [any Codec]
  var specification: String { "adaptive:delta=\(delta),group=\(grouping)" }
  var typicalContraction: Double? { delta }

  /// The codec of a specification.
  private init(_ specification: Specification) throws {
    delta = try specification.number("delta", default: 0.4, in: 0.01...0.999)
    grouping = try Grouping(specification, key: "group")
    let entries = [ChunkTopK.entry, EFSign.entry, Codebook.entry, Uniform.entry, BF16.entry]
    codes = try Adaptive.ladder.map { text in
      let specification = try Specification(text)
      guard let entry = entries.first(where: { $0.name == specification.name }) else { fatalError("no codec \(text)") }
      return try entry.make(specification)
    }
  }

  func codeByteCount(of count: Int) -> Int {
    Adaptive.headerByteCount + codes.reduce(0) { max($0, $1.codeByteCount(of: count)) }
  }

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    let energy = GroupStatistics(gradient, residual, count: count).squareSum
    guard energy.isFinite else { return nil }
    guard energy > 0 else {
      residual.update(repeating: 0, count: count)
      return 0
    }
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * count) { room -> Int? in
      guard let rest = room.baseAddress else { return nil }
      let zeros = rest + count
      zeros.initialize(repeating: 0, count: count)
      for (place, candidate) in codes.enumerated() {
        rest.initialize(from: residual, count: count)
        let written = candidate.encode(
          gradient: gradient, residual: rest, count: count, into: code + Adaptive.headerByteCount, context: context)
        guard let written else { continue }
        let lost = GroupStatistics(rest, zeros, count: count).squareSum
        guard place == codes.count - 1 || lost <= (1 - delta) * energy else { continue }
        code.storeBytes(of: UInt32(place).littleEndian, as: UInt32.self)
        residual.update(from: rest, count: count)
        return Adaptive.headerByteCount + written
      }
      return nil
    }
  }

  /// The code that was chosen, and where it begins; nil if there is no such code.
  private func chosen(_ code: UnsafeRawPointer) -> (code: any Codec, start: UnsafeRawPointer)? {
    let place = UInt32(littleEndian: code.load(as: UInt32.self))
    return place < codes.count ? (codes[Int(place)], code + Adaptive.headerByteCount) : nil
  }

  func isCode(_ code: UnsafeRawPointer, byteCount: Int, count: Int) -> Bool {
    let length = byteCount - Adaptive.headerByteCount
    guard length >= 0, let (codec, start) = chosen(code) else { return false }
    let most = codec.codeByteCount(of: count)
    return (codec.hasVaryingLength ? length <= most : length == most) && codec.isCode(start, byteCount: length, count: count)
  }

  func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) {
    guard let (codec, start) = chosen(code) else { return require(false, "a group in an unknown code") }
    codec.decode(
      start, byteCount: byteCount - Adaptive.headerByteCount, count: count, setting: values, streaming: streaming)
  }

  func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    guard let (codec, start) = chosen(code) else { return require(false, "a group in an unknown code") }
    codec.decode(start, byteCount: byteCount - Adaptive.headerByteCount, count: count, addingTo: values)
  }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "adaptive", "the cheapest code that carries enough of a group, from a few values to 16 bits, with error feedback",
    keys: [
      ("delta", "the share of a group's squared norm that a code must carry, 0.01 to 0.999 (0.4)"),
      ("group", "values that get a code of their own: \(groupMeaning)"),
    ]
  ) { try Adaptive($0) }
}

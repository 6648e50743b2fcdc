internal import Buffers
internal import Kernels

/// The values of a group whose magnitude reaches a limit, `threshold`.
///
/// With v = (gradient + residual) + 0.0, all values with |v| ≥ τ are sent, but no more than `most`: then the largest, by
/// ``MagnitudeThreshold``. τ is `limit` times the root mean square of v, or times its largest magnitude, or `limit` itself. What is sent
/// leaves v minus what arrives of it; every other value stays in the residual as it is, below τ unless `most` are larger.
///
///     code        as ``SparseChunkCode`` writes it
///
/// The number of values follows the gradient: few where most of it is noise of equal size. A limit in absolute terms leaves residuals
/// that no share of the gradient bounds, and must be of the size of the gradient.
///
/// Source: Strom 2015, "Scalable distributed DNN training using commodity GPU cloud computing"; algorithms §4.4.
/// - Cost: For c of n values, ⌈log₂ n⌉ + 2 bits at most for an index, and those of the value.
struct Threshold: SparseCodec {
  /// What the limit is measured in.
  enum Unit: String, CaseIterable { case rms, max, one }

  let name = "threshold"
  let hasVaryingLength = true
  let isSparse = true
  let specification: String
  var grouping: Grouping { .elements(chunk) }
  private let chunk: Int
  private let limit: Double
  private let unit: Unit
  private let most: Amount
  private let index: IndexChoice
  private let values: ChunkValues

  private init(_ specification: Specification) throws(SpecificationError) {
    chunk = try specification.integer("chunk", default: 4096, in: 1...1 << 18)
    unit = try specification.choice("unit", default: Unit.rms)
    limit = try specification.number("limit", default: unit == .max ? 0.5 : 2, in: 1e-30...1e30)
    guard unit != .max || limit <= 1 else {
      throw SpecificationError("'\(specification)': nothing reaches \(limit) times the largest magnitude; limit is at most 1")
    }
    most = try specification.amount("most", default: "1/8", ofChunk: chunk)
    values = try specification.choice("values", default: ChunkValues.bf16)
    index = try specification.choice("index", default: IndexChoice.auto)
    self.specification =
      "threshold:unit=\(unit.rawValue),limit=\(Float(limit).asKey),most=\(most),chunk=\(chunk),values=\(values.rawValue),"
      + "index=\(index.rawValue)"
  }

  private func form(of count: Int) -> SparseChunkCode {
    SparseChunkCode(index: index, values: values, count: count, most: count == 0 ? 0 : most.share(of: count, in: chunk))
  }

  func codeByteCount(of count: Int) -> Int { form(of: count).byteCount }

  /// τ as a pattern of bits; at least 1, so that zeros are not sent.
  private func key(of v: UnsafePointer<Float>, count: Int) -> UInt32 {
    let scale: Double
    switch unit {
    case .rms: scale = (sumOfSquares(v, count: count) / Double(count)).squareRoot()
    case .max: scale = Double((0..<count).reduce(0) { Swift.max($0, v[$1].magnitude) })
    case .one: scale = 1
    }
    return Swift.max(1, Float(limit * scale).bitPattern)
  }

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    guard count > 0 else { return 0 }
    let form = form(of: count)
    // The vector loops write up to sixteen places beyond what they find.
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * count + 16) { room in
      withUnsafeTemporaryAllocation(of: UInt32.self, capacity: count + 16) { places in
        let (v, chosen, indices) = (room.baseAddress!, room.baseAddress! + count, places.baseAddress!)
        addResidual(gradient, residual, times: 1, count: count, into: v)
        guard allFinite(v, count: count, limit: .greatestFiniteMagnitude) else { return nil }
        var found = selectAtLeast(v, count: count, key: key(of: v, count: count), first: 0, indices: indices, selected: chosen)
        if found > form.most {
          found = ChunkSelection.choose(form.most, of: v, count: count, indices: indices, chosen: chosen)
        }
        let sent = UnsafeBufferPointer(start: chosen, count: found)
        return form.send(sent, at: indices, of: v, residual: residual, into: code)
      }
    }
  }

  @inline(__always)
  func read(
    _ code: UnsafeRawPointer, _ byteCount: Int, _ count: Int, _ body: (_ place: Int, _ value: Float) -> Void
  ) -> Bool { form(of: count).read(code, byteCount: byteCount, body) }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "threshold", "the values of each chunk that reach a limit, with error feedback (Strom 2015)",
    keys: [
      ("limit", "what a magnitude must reach, above 0 (2; 0.5 of the largest)"),
      ("unit", "what it is measured in: rms of a chunk, max: its largest magnitude, or one (rms)"),
      ("most", "values that are sent of a chunk at most: a number or a share (1/8)"),
      ("chunk", "values of a tensor that are chosen from together (4096)"),
      ("values", "bf16; float; sign: a magnitude for a chunk; two: two of them, by 2 bits a value (bf16)"),
      ("index", "how indices are written: elias-fano, gaps, bitmap, or auto: the shortest of them (auto)"),
    ]
  ) { try Threshold($0) }
}

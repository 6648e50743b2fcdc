internal import Buffers
internal import Kernels

/// k values of a group at random, `random-k`, without their indices: the receiver draws them, too.
///
///     uint32      where the random numbers of the group begin
///     k fp32      the values, in the order in which they are drawn
///
/// With `seed=shared` all ranks and owners draw the same values, so that the sum of what arrives is what arrives of the sum,
/// and owners lose nothing. With `seed=own` every rank draws its own, and owners draw again. With `feedback=true` a value
/// arrives as it is, and those that are not drawn stay in the residual; without, a rank sends n/k times the value, which is
/// right on average, has an error of n/k − 1 times the squared norm, and leaves no residual.
///
/// The k values are drawn without replacement (``RandomSubset``), each with probability k/n.
///
/// Source: Stich, Cordonnier and Jaggi 2018, "Sparsified SGD with memory"; algorithms §4.2.
/// - Cost: 4 + 4k bytes per group.
struct RandomK: Codec {
  /// Who draws the same values.
  enum Seed: String, CaseIterable { case shared, own }

  let name = "random-k"
  let isIdentity = false
  let isSparse = true
  let specification: String
  var grouping: Grouping { .elements(chunk) }
  let keepsRemainder: Bool
  var isUnbiased: Bool { !keepsRemainder }
  var exchangesUntilSent: Double { keepsRemainder ? Double(chunk) / Double(k.count(of: chunk)) : 1 }
  private let k: Amount
  private let chunk: Int
  private let seed: Seed

  private init(_ specification: Specification) throws(SpecificationError) {
    chunk = try specification.integer("chunk", default: 4096, in: 1...1 << 16)
    k = try specification.amount("k", default: "1/64", ofChunk: chunk)
    seed = try specification.choice("seed", default: Seed.shared)
    keepsRemainder = try specification.flag("feedback", default: true)
    self.specification = "random-k:k=\(k),chunk=\(chunk),seed=\(seed.rawValue),feedback=\(keepsRemainder)"
  }

  private func drawnCount(of count: Int) -> Int { count == 0 ? 0 : k.share(of: count, in: chunk) }

  func codeByteCount(of count: Int) -> Int { count == 0 ? 0 : 4 + 4 * drawnCount(of: count) }

  /// Calls `body` with the indices of the values that are drawn from `start` on, one after another.
  @inline(__always)
  private func draw(from start: UInt32, of count: Int, _ body: (_ place: Int, _ index: Int) -> Void) {
    RandomSubset.draw(drawnCount(of: count), of: count, by: Philox(seed: UInt64(start), purpose: .randomK), body)
  }

  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    guard count > 0 else { return 0 }
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { v -> Int? in
      addResidual(gradient, residual, times: 1, count: count, into: v.baseAddress!)
      // Only what is drawn is multiplied.
      let drawn = drawnCount(of: count)
      let isScaled = !keepsRemainder && !(seed == .shared && context.isSum)
      let scale = isScaled ? Float(Double(count) / Double(drawn)) : 1
      guard allFinite(v.baseAddress!, count: count, limit: .greatestFiniteMagnitude / scale) else { return nil }
      var address = context
      if seed == .shared { address.stream = 0 }
      let start = address.random(.randomK).words(quad: 0)[0]
      code.storeBytes(of: start.littleEndian, as: UInt32.self)
      let sent = (code + 4).assumingMemoryBound(to: Float.self)
      draw(from: start, of: count) { place, index in
        sent[place] = scale * v[index]
        v[index] = 0
      }
      if keepsRemainder {
        residual.update(from: v.baseAddress!, count: count)
      } else {
        residual.update(repeating: 0, count: count)
      }
      return 4 + 4 * drawn
    }
  }

  /// Calls `body` with the values of a code and their places.
  @inline(__always)
  private func read(_ code: UnsafeRawPointer, _ count: Int, _ body: (_ place: Int, _ value: Float) -> Void) {
    guard count > 0 else { return }
    let sent = (code + 4).assumingMemoryBound(to: Float.self)
    draw(from: UInt32(littleEndian: code.load(as: UInt32.self)), of: count) { place, index in body(index, sent[place]) }
  }

  func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) {
    values.update(repeating: 0, count: count)
    read(code, count) { values[$0] = $1 }
  }

  func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    read(code, count) { values[$0] += $1 }
  }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "random-k", "values of each chunk at random, without indices, with error feedback or right on average (Stich et al. 2018)",
    keys: [
      ("k", "values that are sent of a chunk: a number or a share (1/64)"),
      ("chunk", "values of a tensor that are drawn from together, up to 65536 (4096)"),
      ("seed", "shared: all ranks draw the same values; own: each draws its own (shared)"),
      ("feedback", "true: the rest is sent later; false: values are multiplied, so that they are right on average (true)"),
    ]
  ) { try RandomK($0) }
}

internal import Kernels

/// A lossy encoding of groups of floats, one group at a time.
///
/// A codec knows nothing about ranks and keeps no state: what a code cannot carry stays in a residual that the caller owns
/// (``GroupCoder``, which also sends a group as raw floats if its code would be no smaller).
///
/// Every codec obeys decode(code) + residual′ = gradient + residual, up to half an ulp of the largest of the terms, unless it is asked
/// to let residuals fade (``ChunkTopK``), or leaves none at all (``keepsRemainder``).
/// A group is a run of values that share their statistics; ``Grouping`` defines where groups begin and end.
public protocol Codec: Sendable {
  /// The full specification, for example `one-bit:group=row`.
  var specification: String { get }
  /// The name alone, for example `one-bit`.
  var name: String { get }
  /// How tensors are cut into groups.
  var grouping: Grouping { get }
  /// Whether the code is the floats themselves, so that nothing is lost and no residual is needed.
  var isIdentity: Bool { get }
  /// Whether a code may be shorter than ``codeByteCount(of:)``; false by default.
  var hasVaryingLength: Bool { get }

  /// Whether a code carries some values of a group alone, and nothing of the others, which are zero where it arrives, or a few mixtures of
  /// all: most of a group comes later, or by chance; false by default.
  var isSparse: Bool { get }

  /// Whether a sum counts each value as if all codes had what those that have it have on average; false by default.
  ///
  /// Only a codec that `hasVaryingLength` may ask for it.
  var dividesBySenders: Bool { get }

  /// Whether a sum is taken of what codes hold, and decoded once, so that it is rounded in another way than a sum of decoded groups;
  /// false by default.
  var addsBeforeDecoding: Bool { get }

  /// The number of exchanges that a value waits in the residual, on average, until it is sent; 1 by default.
  ///
  /// The sum of n gradients that are mostly noise is √n times as large as one.
  var exchangesUntilSent: Double { get }

  /// About what share of the squared norm of a group one code carries; the rest comes later. Nil if it is not known; 1 is all of it.
  var typicalContraction: Double? { get }

  /// Whether what a code does not carry stays in the residual; true by default.
  ///
  /// A codec that keeps no remainder still sends the residual that it is given, and leaves zeros: what is lost is not sent later.
  var keepsRemainder: Bool { get }

  /// Whether what a code does not carry is sent later in full, so that what arrives over many exchanges adds up to what was given, less
  /// a residual; by default if it keeps the remainder.
  var losesNothing: Bool { get }

  /// Whether what arrives of a group is gradient + residual on average over the random numbers; only of floats by default.
  var isUnbiased: Bool { get }

  /// The size in bytes of the code of a group of `count` values, a multiple of 4; an upper bound if the codec
  /// `hasVaryingLength`.
  func codeByteCount(of count: Int) -> Int

  /// Moves what the code can carry of gradient + residual into `code`, which is aligned to 4 bytes, and leaves the rest as the
  /// new residual.
  ///
  /// A stochastic code takes its random numbers from `context`, so that the same group gives the same bits everywhere.
  ///
  /// - Returns: The number of bytes written, or nil, with the residual untouched, if the values or their sums are not finite.
  ///   On nil, `code` is not read: the caller puts zero bytes in its place, which a codec of fixed length decodes to zeros; for
  ///   a codec of varying length nothing is sent.
  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int,
    into code: UnsafeMutableRawPointer, context: EncodingContext
  ) -> Int?

  /// Whether bytes of another process, of a length that is allowed, are a code that can be decoded; true by default.
  func isCode(_ code: UnsafeRawPointer, byteCount: Int, count: Int) -> Bool

  /// Sets `values` to the decoded group, whose code has `byteCount` bytes.
  ///
  /// With `streaming`, nothing reads the values soon: stores may bypass the cache, and the caller calls `finishStreaming()`
  /// before another thread or rank reads them.
  func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool)

  /// Makes what this thread decoded with `streaming` visible to others before its next stores.
  ///
  /// Calling it once after many groups is enough. The default is that of the kernels.
  func finishStreaming()

  /// Adds the decoded group to `values`.
  func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>)

  /// Sets `values` to the sum of at least one decoded group, added in the given order in fp32; of decoded values, unless the codec
  /// `addsBeforeDecoding`.
  ///
  /// Only called for codes of fixed length. The default decodes one after another.
  func decodeSum(
    _ codes: UnsafePointer<UnsafeRawPointer>, codeCount: Int, count: Int,
    into values: UnsafeMutablePointer<Float>)
}

extension Codec {
  public var hasVaryingLength: Bool { false }
  public var dividesBySenders: Bool { false }
  public var addsBeforeDecoding: Bool { false }
  public var isSparse: Bool { false }
  public var exchangesUntilSent: Double { 1 }
  public var keepsRemainder: Bool { true }
  public var losesNothing: Bool { keepsRemainder && !dividesBySenders }
  public var isUnbiased: Bool { isIdentity }

  public func isCode(_ code: UnsafeRawPointer, byteCount: Int, count: Int) -> Bool { true }

  public var typicalContraction: Double? { isIdentity ? 1 : nil }

  public func finishStreaming() { Kernels.finishStreaming() }

  public func decodeSum(
    _ codes: UnsafePointer<UnsafeRawPointer>, codeCount: Int, count: Int, into values: UnsafeMutablePointer<Float>
  ) {
    let byteCount = codeByteCount(of: count)
    decode(codes[0], byteCount: byteCount, count: count, setting: values, streaming: false)
    for k in stride(from: 1, to: codeCount, by: 1) { decode(codes[k], byteCount: byteCount, count: count, addingTo: values) }
  }
}

extension Codec {
  /// Whether a group of `count` values is raw: sent as floats because its code would be no smaller.
  public func isRaw(count: Int) -> Bool { GroupForm(self, count: count).isRaw }

  /// The size in bytes of a group of `count` values as sent, raw or as a code; an upper bound if the codec `hasVaryingLength`.
  public func encodedByteCount(of count: Int) -> Int { GroupForm(self, count: count).byteCount }
}

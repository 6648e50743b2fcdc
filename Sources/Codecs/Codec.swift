internal import Kernels

/// A lossy encoding of groups of floats, one group at a time.
///
/// A codec knows nothing of ranks, and keeps no state: what a code cannot carry stays in a residual that the caller owns
/// (``GroupCoder``, which also sends a group as its floats if its code would be no smaller).
///
/// The law of every codec: decode(code) + residual′ = gradient + residual, up to half an ulp of the largest of the terms.
/// A group is a run of values that share their statistics; ``Grouping`` says where groups begin and end.
public protocol Codec: Sendable {
  /// The full specification: `one-bit:group=row`.
  var specification: String { get }
  /// The name alone: `one-bit`.
  var name: String { get }
  /// How tensors are cut into groups.
  var grouping: Grouping { get }
  /// Whether the code is the floats themselves, so that nothing is lost and no residual is needed.
  var isIdentity: Bool { get }
  /// Whether a code may be shorter than ``codeByteCount(of:)`` says; without an implementation of its own, a codec's codes are not.
  var hasVaryingLength: Bool { get }

  /// The size in bytes of the code of a group of `count` values, a multiple of 4; the most bytes of it if the codec
  /// `hasVaryingLength`.
  func codeByteCount(of count: Int) -> Int

  /// Moves what the code can carry of gradient + residual into `code`, aligned to 4 bytes, and leaves the rest as the new residual.
  ///
  /// A stochastic code takes its random numbers from `context`, so that the same group gives the same bits everywhere.
  ///
  /// - Returns: the bytes written; nil, with the residual untouched, if the values or their sums are not finite, and then `code` is not
  ///   read. The caller puts zero bytes in its place, which a codec of fixed length decodes to zeros; of a varying one nothing is sent.
  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int,
    into code: UnsafeMutableRawPointer, context: EncodingContext
  ) -> Int?

  /// Sets `values` to the decoded group, whose code has `byteCount` bytes; `streaming` says that nothing reads them soon, so that
  /// stores may bypass the cache, and that the caller calls `finishStreaming()` before another thread or rank reads them.
  func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool)

  /// Makes what this thread decoded with `streaming` visible to others before whatever it stores next.
  ///
  /// Once after many groups is enough; without an implementation of its own, a codec has that of the kernels.
  func finishStreaming()

  /// Adds the decoded group to `values`.
  func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>)

  /// Sets `values` to the sum of decoded groups, one at least, added in the order given, in fp32.
  ///
  /// Only called for codes of fixed length; without an implementation of its own, a codec decodes one after another.
  func decodeSum(
    _ codes: UnsafePointer<UnsafeRawPointer>, codeCount: Int, count: Int,
    into values: UnsafeMutablePointer<Float>)
}

extension Codec {
  public var hasVaryingLength: Bool { false }

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
  /// Whether a group of `count` values is raw: sent as its floats, because its code would be no smaller.
  public func isRaw(count: Int) -> Bool { GroupForm(self, count: count).isRaw }

  /// The size in bytes of a group of `count` values as it is sent, raw or as a code; the most bytes of it if the codec
  /// `hasVaryingLength`.
  public func encodedByteCount(of count: Int) -> Int { GroupForm(self, count: count).byteCount }
}

internal import Kernels

/// A lossy encoding of groups of floats, one group at a time.
///
/// A codec knows nothing of ranks, and keeps no state: what a code cannot carry stays in a residual that the caller owns.
///
/// The law of every codec: decode(code) + residual′ = gradient + residual, up to half an ulp of the largest of the terms.
/// A group is a run of values that share their statistics; ``Grouping`` says where groups begin and end.
public protocol Codec: Sendable {
  /// As people write it, with every key: `one-bit:group=row`.
  var specification: String { get }
  /// The name alone: `one-bit`.
  var name: String { get }
  /// How tensors are cut into groups.
  var grouping: Grouping { get }
  /// Whether the code is the floats themselves, so that nothing is lost and no residual is needed.
  var isIdentity: Bool { get }

  /// The size in bytes of the code of a group of `count` values: a multiple of 4, the same for all values.
  func encodedByteCount(of count: Int) -> Int

  /// Whether a group of `count` values is sent as its floats, because its code would be no smaller.
  func isPlain(count: Int) -> Bool

  /// Moves what the code can carry of gradient + residual into `code`, and leaves the rest as the new residual.
  ///
  /// - Returns: false, with the residual untouched and a code that decodes to zeros, where the values or their sums are not
  ///   finite.
  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int,
    into code: UnsafeMutableRawPointer
  ) -> Bool

  /// Sets `values` to the decoded group; `streaming` says that nobody reads them soon, so that stores may bypass the cache, and
  /// that the caller calls ``finishStreaming()`` before another thread or rank reads them.
  func decode(
    _ code: UnsafeRawPointer, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool)

  /// Makes what this thread decoded with `streaming` visible to others before whatever it stores next.
  ///
  /// Once after many groups is enough; without an implementation of its own, a codec has that of the kernels.
  func finishStreaming()

  /// Adds the decoded group to `values`.
  func decode(_ code: UnsafeRawPointer, count: Int, addingTo values: UnsafeMutablePointer<Float>)

  /// Sets `values` to the sum of decoded groups, added in the order given, in fp32.
  func decodeSum(
    _ codes: UnsafePointer<UnsafeRawPointer>, codeCount: Int, count: Int,
    into values: UnsafeMutablePointer<Float>)
}

extension Codec {
  public func finishStreaming() { Kernels.finishStreaming() }
}

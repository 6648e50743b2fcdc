/// A code whose messages can be added before decoding: the message of a sum is the sum of the messages.
///
/// Messages are floats, the same number for every vector of a shard, and the owner of the shard adds them in rank order. What
/// is read from a sum (heavy values, a low-rank product) is up to the caller; a code that also loses something needs error
/// feedback there.
///
/// Every linear code obeys encode(a) + encode(b) = encode(a + b), up to the rounding of the additions.
public protocol LinearCode: Sendable {
  /// The full specification, with defaults filled in.
  var specification: String { get }
  /// The shards, which are encoded one at a time.
  var shards: ShardMap { get }

  /// The number of floats of a shard's message; 0 if the shard is empty.
  func messageCount(of shard: Int) -> Int

  /// Writes the message of a shard's values, overwriting `message`.
  ///
  /// - Parameters:
  ///   - values: The ``ShardMap/count(of:)`` values of the shard, in its order; all finite.
  ///   - shard: The index of the shard.
  ///   - message: Room for ``messageCount(of:)`` floats, aligned to 64 bytes or not.
  func encode(_ values: UnsafePointer<Float>, of shard: Int, into message: UnsafeMutablePointer<Float>)
}

/// The floats themselves: the baseline for linear codes.
public struct DenseCode: LinearCode {
  public let specification = "dense"
  public let shards: ShardMap

  /// Creates a code of these shards.
  public init(_ shards: ShardMap) { self.shards = shards }

  public func messageCount(of shard: Int) -> Int { shards.count(of: shard) }

  public func encode(_ values: UnsafePointer<Float>, of shard: Int, into message: UnsafeMutablePointer<Float>) {
    message.update(from: values, count: shards.count(of: shard))
  }
}

/// A code whose messages may be added before anything is decoded: the message of a sum is the sum of the messages.
///
/// Messages are floats, as many for every vector of a shard, and are added in rank order by the owner of the shard. What
/// is read from a sum (heavy values, a low-rank product) is the business of whoever asked for it; a code that also loses something
/// needs error feedback there.
///
/// The law of every linear code: encode(a) + encode(b) = encode(a + b), up to the rounding of the additions.
public protocol LinearCode: Sendable {
  /// As people write it, with every key.
  var specification: String { get }
  /// What the code sees at a time.
  var shards: ShardMap { get }

  /// The floats of the message of a shard: 0 where the shard is empty.
  func messageCount(of shard: Int) -> Int

  /// Writes the message of a shard's values over whatever is there.
  ///
  /// - Parameters:
  ///   - values: The shard's values, in its order, as many as ``ShardMap/count(of:)`` says; all finite.
  ///   - shard: Its number.
  ///   - message: Room for ``messageCount(of:)`` floats, aligned to 64 bytes or not.
  func encode(_ values: UnsafePointer<Float>, of shard: Int, into message: UnsafeMutablePointer<Float>)
}

/// The floats themselves: what a linear code is measured by.
public struct DenseCode: LinearCode {
  public let specification = "dense"
  public let shards: ShardMap

  /// A code of these shards.
  public init(_ shards: ShardMap) { self.shards = shards }

  public func messageCount(of shard: Int) -> Int { shards.count(of: shard) }

  public func encode(_ values: UnsafePointer<Float>, of shard: Int, into message: UnsafeMutablePointer<Float>) {
    message.update(from: values, count: shards.count(of: shard))
  }
}

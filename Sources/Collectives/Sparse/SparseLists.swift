internal import Buffers
public import Codecs
internal import Transport

/// Sparse vectors of several shards as one message: for each, the number of values, the number of bytes, and a code.
///
/// The code is a `SparseCode`, or an `IndexCode` if only indices are sent; its bytes are padded to a multiple of 4.
public struct SparseLists: Sendable {
  private let shards: ShardMap
  private let most: [Int]
  private let hasValues: Bool
  private let total: Int?

  /// Creates a format for vectors of at most `most[shard]` values, and at most `total` in a message, if that is given.
  public init(_ shards: ShardMap, most: [Int], total: Int? = nil, hasValues: Bool = true) {
    (self.shards, self.most, self.total, self.hasValues) = (shards, most, total, hasValues)
  }

  /// The most floats in a message of the given shards.
  public func capacity(of range: Range<Int>) -> Int {
    let full = fullCapacity(of: range)
    guard let total, hasValues else { return full }
    // A shard has 16 bytes and one for every 128 of its values besides; a value that is sent has 4, and its index no more.
    return min(full, range.reduce(2 * total) { $0 + 5 + (shards.count(of: $1) / 128 + 3) / 4 })
  }

  /// The most floats in a message of the given shards, if all are as long as they can be.
  private func fullCapacity(of range: Range<Int>) -> Int {
    range.reduce(0) { sum, shard in
      let count = shards.count(of: shard)
      let bytes =
        hasValues ? SparseCode(count: count).mostBytes(k: most[shard]) : IndexCode(bound: count).mostBytes(count: most[shard])
      return sum + 2 + (bytes + 3) / 4
    }
  }

  /// Writes the vectors of `range`; returns the length in floats.
  public func encode(_ vectors: [SparseVector], of range: Range<Int>, into message: UnsafeMutablePointer<Float>) -> Int {
    require(vectors.count == range.count, "\(vectors.count) vectors of \(range.count) shards")
    let start = UnsafeMutableRawPointer(message)
    var end = start
    for (shard, vector) in zip(range, vectors) {
      let count = shards.count(of: shard)
      require(vector.count <= most[shard], "\(vector.count) values where \(most[shard]) have room")
      let length =
        hasValues
        ? SparseCode(count: count).encode(vector, into: end + 8)
        : IndexCode(bound: count).encode(vector.indices, into: end + 8)
      end.storeBytes(of: UInt32(vector.count).littleEndian, as: UInt32.self)
      end.storeBytes(of: UInt32(length).littleEndian, toByteOffset: 4, as: UInt32.self)
      end += 8 + (length + 3) / 4 * 4
    }
    return (end - start) / 4
  }

  /// Calls `body` with the vector of every shard of `range`, in order; values are zeros if only indices were sent.
  ///
  /// - Throws: `ExchangeError.unexpectedMessage`, naming `sender`, if the bytes are not valid in this format.
  public func decode(
    _ message: UnsafeBufferPointer<Float>, of range: Range<Int>, from sender: Int,
    _ body: (_ shard: Int, _ vector: SparseVector) -> Void
  ) throws {
    var bytes = UnsafeRawBufferPointer(message)[...]
    for shard in range {
      guard bytes.count >= 8 else { throw invalid("a list that is too short", sender) }
      let header = UnsafeRawBufferPointer(rebasing: bytes.prefix(8))
      let count = Int(UInt32(littleEndian: header.loadUnaligned(as: UInt32.self)))
      let length = Int(UInt32(littleEndian: header.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
      guard bytes.count - 8 >= length, count <= most[shard] else {
        throw invalid("a list of \(count) values in \(length) bytes", sender)
      }
      let code = UnsafeRawBufferPointer(rebasing: bytes.dropFirst(8).prefix(length))
      do { body(shard, try vector(code, count: count, of: shards.count(of: shard))) } catch {
        throw invalid("\(error)", sender)
      }
      bytes = bytes.dropFirst(8 + (length + 3) / 4 * 4)
    }
  }

  private func vector(_ code: UnsafeRawBufferPointer, count: Int, of bound: Int) throws(SparseCodeError) -> SparseVector {
    if hasValues { return try SparseCode(count: bound).decode(code) }
    let indices = try IndexCode(bound: bound).decode(code, count: count)
    return SparseVector(indices: indices, values: Array(repeating: 0, count: count))
  }

  private func invalid(_ what: String, _ sender: Int) -> ExchangeError {
    .unexpectedMessage(from: "rank \(sender)", detail: what)
  }
}

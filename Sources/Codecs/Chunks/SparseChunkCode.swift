internal import Buffers

/// The code of some values of a group: how many, their indices, and themselves, as a stream of bits padded to whole bytes.
///
///     c           in ⌈log₂(most + 1)⌉ bits
///     indices     ``IndexChoice``
///     values      ``ChunkValues``
struct SparseChunkCode {
  let index: IndexChoice
  let values: ChunkValues
  /// The values of the group.
  let count: Int
  /// The most of them that a code may have.
  let most: Int

  /// The bits of c.
  private var counterBits: Int { Int.bitWidth - most.leadingZeroBitCount }

  /// The most bytes of a code, a multiple of 4.
  var byteCount: Int {
    (counterBits + index.mostBits(count: most, below: count) + values.bitCount(of: most) + 31) / 32 * 4
  }

  /// Writes chosen values of `v` with their indices, which ascend; what does not arrive of them, and all others, are the new residual.
  ///
  /// - Returns: The number of bytes; 0 if nothing would arrive.
  func send(
    _ sent: UnsafeBufferPointer<Float>, at indices: UnsafePointer<UInt32>, of v: UnsafePointer<Float>,
    residual: UnsafeMutablePointer<Float>, into code: UnsafeMutableRawPointer
  ) -> Int {
    residual.update(from: v, count: count)
    guard !sent.isEmpty, let levels = values.levels(of: sent) else { return 0 }
    for place in 0..<sent.count {
      residual[Int(indices[place])] = sent[place] - values.arriving(sent[place], levels)
    }
    var writer = BitWriter(code)
    writer.write(UInt64(sent.count), counterBits)
    index.write(UnsafeBufferPointer(start: indices, count: sent.count), below: count, to: &writer)
    values.write(sent, levels, to: &writer)
    return writer.finish()
  }

  /// Calls `body` with the values of a code and their places in the group; false, as far as is known before, if it is none.
  @inline(__always)
  func read(_ code: UnsafeRawPointer, byteCount: Int, _ body: (_ place: Int, _ value: Float) -> Void) -> Bool {
    var reader = BitReader(code, byteCount: byteCount)
    let found = Int(reader.read(counterBits))
    guard found <= most, found > 0 else { return false }
    return withUnsafeTemporaryAllocation(of: UInt32.self, capacity: found) { indices in
      guard index.read(into: indices, below: count, from: &reader) else { return false }
      values.read(found, from: &reader) { body(Int(indices[$0]), $1) }
      return reader.isAtEnd
    }
  }
}

/// A codec that sends some values of a group by their indices.
protocol SparseCodec: Codec {
  /// Calls `body` with the values of a code and their places in the group; false, as far as is known before, if it is none.
  ///
  /// Inlined in the conforming types, so that `body` is no call for each value.
  func read(
    _ code: UnsafeRawPointer, _ byteCount: Int, _ count: Int, _ body: (_ place: Int, _ value: Float) -> Void
  ) -> Bool
}

extension SparseCodec {
  public var isIdentity: Bool { false }

  public func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) {
    values.update(repeating: 0, count: count)
    require(read(code, byteCount, count) { values[$0] = $1 }, "\(SparseCodeError.damaged(specification))")
  }

  public func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    require(read(code, byteCount, count) { values[$0] += $1 }, "\(SparseCodeError.damaged(specification))")
  }

  public func isCode(_ code: UnsafeRawPointer, byteCount: Int, count: Int) -> Bool { read(code, byteCount, count) { _, _ in } }
}

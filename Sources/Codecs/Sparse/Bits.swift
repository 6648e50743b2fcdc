/// Writes numbers of a few bits one after another, low bits first.
///
/// Bit b of the stream is bit b % 8 of byte b / 8; nothing is written beyond the last byte.
struct BitWriter {
  private let bytes: UnsafeMutableRawPointer
  /// The bits not yet stored, and their number, below 64.
  private var word: UInt64 = 0
  private var pending = 0
  private var stored = 0

  /// Starts at `bytes`.
  init(_ bytes: UnsafeMutableRawPointer) { self.bytes = bytes }

  /// Writes the lowest `count` bits of `value`, whose other bits are 0; at most 63.
  @inline(__always)
  mutating func write(_ value: UInt64, _ count: Int) {
    word |= value &<< UInt64(pending)
    pending += count
    guard pending >= 64 else { return }
    bytes.storeBytes(of: word.littleEndian, toByteOffset: stored, as: UInt64.self)
    stored += 8
    pending -= 64
    word = value &>> UInt64(count - pending)
  }

  /// Writes `count` zeros and a one.
  @inline(__always)
  mutating func writeUnary(_ count: Int) {
    var rest = count
    while rest >= 32 {
      write(0, 32)
      rest -= 32
    }
    write(1 &<< UInt64(rest), rest + 1)
  }

  /// Stores what is pending, and returns the number of bytes.
  mutating func finish() -> Int {
    while pending > 0 {
      bytes.storeBytes(of: UInt8(truncatingIfNeeded: word), toByteOffset: stored, as: UInt8.self)
      word &>>= 8
      stored += 1
      pending -= 8
    }
    pending = 0
    return stored
  }
}

/// Reads what a `BitWriter` wrote; beyond the end it reads zeros and remembers that it did.
struct BitReader {
  private let bytes: UnsafeRawPointer
  private let byteCount: Int
  /// The next bit.
  private(set) var position = 0

  /// Reads `byteCount` bytes from `bytes` on.
  init(_ bytes: UnsafeRawPointer, byteCount: Int) { (self.bytes, self.byteCount) = (bytes, byteCount) }

  /// Whether more was read than there is.
  var hasOverrun: Bool { position > 8 * byteCount }

  /// Whether all bytes were read, and the rest of the last one is zeros.
  var isAtEnd: Bool { (position + 7) / 8 == byteCount && (position % 8 == 0 || peek() == 0) }

  /// At least 57 bits from the next one on.
  @inline(__always)
  private func peek() -> UInt64 {
    let place = position >> 3
    if place + 8 <= byteCount {
      return UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self)) &>> UInt64(position & 7)
    }
    return peekAtEnd(place)
  }

  @inline(never)
  private func peekAtEnd(_ place: Int) -> UInt64 {
    if byteCount >= 8 {
      guard place < byteCount else { return 0 }
      let last = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: byteCount - 8, as: UInt64.self))
      return last &>> UInt64(8 * (place + 8 - byteCount) + (position & 7))
    }
    var word: UInt64 = 0
    for offset in stride(from: place, to: min(byteCount, place + 8), by: 1) {
      word |= UInt64(bytes.load(fromByteOffset: offset, as: UInt8.self)) &<< UInt64(8 * (offset - place))
    }
    return word &>> UInt64(position & 7)
  }

  /// The next `count` bits, at most 57.
  @inline(__always)
  mutating func read(_ count: Int) -> UInt64 {
    let value = peek() & (1 &<< UInt64(count) &- 1)
    position += count
    return value
  }

  /// The number of zeros before the next one, and skips both; nil if there is none.
  @inline(__always)
  mutating func readUnary() -> Int? {
    var count = 0
    while true {
      let zeros = min(peek().trailingZeroBitCount, 57)
      count += zeros
      position += zeros
      if zeros < 57 {
        position += 1
        return hasOverrun ? nil : count
      }
      if hasOverrun { return nil }
    }
  }

  /// The number of zeros before the next one, and the `low` bits after it, at most 57; nil if they are not there.
  @inline(__always)
  mutating func readUnary(andThen low: Int) -> (high: Int, low: Int)? {
    let word = peek()
    let zeros = word.trailingZeroBitCount
    guard zeros + 1 + low <= 57, !hasOverrun else {
      return readUnary().map { ($0, Int(read(low))) }
    }
    position += zeros + 1 + low
    return hasOverrun ? nil : (zeros, Int(word &>> UInt64(zeros + 1) & (1 &<< UInt64(low) &- 1)))
  }
}

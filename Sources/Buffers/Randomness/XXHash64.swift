/// xxHash64 of bytes: the hash of models, checkpoints and options.
///
/// Bytes are added all at once, by ``hash(_:seed:)``, or in pieces, by ``update(_:)`` and ``value``; the hash does not depend
/// on the pieces.
///
/// Source: the xxHash specification 0.1.1, by Yann Collet.
public struct XXHash64: Sendable {
  private static let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
  private static let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
  private static let prime3: UInt64 = 0x1656_67B1_9E37_79F9
  private static let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
  private static let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

  private let seed: UInt64
  private var lanes: (UInt64, UInt64, UInt64, UInt64)
  /// The bytes not yet added to the lanes, fewer than a block of 32.
  private var tail: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
  private var tailCount = 0
  private var byteCount: UInt64 = 0

  /// Starts a hash; no bytes are added yet.
  public init(seed: UInt64 = 0) {
    self.seed = seed
    lanes = (seed &+ Self.prime1 &+ Self.prime2, seed &+ Self.prime2, seed, seed &- Self.prime1)
  }

  /// Adds `bytes` after those added before.
  public mutating func update(_ bytes: UnsafeRawBufferPointer) {
    byteCount &+= UInt64(bytes.count)
    var rest = bytes
    if tailCount > 0 {
      let taken = min(32 - tailCount, rest.count)
      let offset = tailCount
      withUnsafeMutableBytes(of: &tail) { tail in
        for index in 0..<taken { tail[offset + index] = rest[index] }
      }
      tailCount += taken
      rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
      guard tailCount == 32 else { return }
      let block = tail
      withUnsafeBytes(of: block) { addBlocks($0) }
      tailCount = 0
    }
    let whole = rest.count & ~31
    addBlocks(UnsafeRawBufferPointer(rebasing: rest[..<whole]))
    rest = UnsafeRawBufferPointer(rebasing: rest[whole...])
    withUnsafeMutableBytes(of: &tail) { tail in
      for index in rest.indices { tail[index] = rest[index] }
    }
    tailCount = rest.count
  }

  /// The hash of all bytes added so far.
  public var value: UInt64 {
    var hash: UInt64
    if byteCount >= 32 {
      hash =
        Self.rotate(lanes.0, 1) &+ Self.rotate(lanes.1, 7) &+ Self.rotate(lanes.2, 12) &+ Self.rotate(lanes.3, 18)
      for lane in [lanes.0, lanes.1, lanes.2, lanes.3] {
        hash = (hash ^ Self.round(0, lane)) &* Self.prime1 &+ Self.prime4
      }
    } else {
      hash = seed &+ Self.prime5
    }
    hash = hash &+ byteCount
    withUnsafeBytes(of: tail) { tail in
      var offset = 0
      while offset + 8 <= tailCount {
        let word = UInt64(littleEndian: tail.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        hash = Self.rotate(hash ^ Self.round(0, word), 27) &* Self.prime1 &+ Self.prime4
        offset += 8
      }
      if offset + 4 <= tailCount {
        let word = UInt32(littleEndian: tail.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        hash = Self.rotate(hash ^ UInt64(word) &* Self.prime1, 23) &* Self.prime2 &+ Self.prime3
        offset += 4
      }
      while offset < tailCount {
        hash = Self.rotate(hash ^ UInt64(tail[offset]) &* Self.prime5, 11) &* Self.prime1
        offset += 1
      }
    }
    hash = (hash ^ hash >> 33) &* Self.prime2
    hash = (hash ^ hash >> 29) &* Self.prime3
    return hash ^ hash >> 32
  }

  /// The hash of `bytes`.
  public static func hash(_ bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) -> UInt64 {
    var state = XXHash64(seed: seed)
    state.update(bytes)
    return state.value
  }

  /// The hash of the UTF-8 bytes of a text.
  public static func hash(_ text: String) -> UInt64 {
    var text = text
    return text.withUTF8 { hash(UnsafeRawBufferPointer($0)) }
  }

  /// Adds whole blocks of 32 bytes to the lanes.
  private mutating func addBlocks(_ blocks: UnsafeRawBufferPointer) {
    var (lane0, lane1, lane2, lane3) = lanes
    for offset in stride(from: 0, to: blocks.count, by: 32) {
      let words = blocks.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)
      lane0 = Self.round(lane0, UInt64(littleEndian: words[0]))
      lane1 = Self.round(lane1, UInt64(littleEndian: words[1]))
      lane2 = Self.round(lane2, UInt64(littleEndian: words[2]))
      lane3 = Self.round(lane3, UInt64(littleEndian: words[3]))
    }
    lanes = (lane0, lane1, lane2, lane3)
  }

  private static func round(_ accumulator: UInt64, _ input: UInt64) -> UInt64 {
    rotate(accumulator &+ input &* prime2, 31) &* prime1
  }

  private static func rotate(_ value: UInt64, _ bits: UInt64) -> UInt64 {
    value << bits | value >> (64 - bits)
  }
}

extension FloatBuffer {
  /// The xxHash64 of the raw bytes of the values in `range`, or of all values.
  public func hash(in range: Range<Int>? = nil) -> UInt64 {
    XXHash64.hash(UnsafeRawBufferPointer(values(in: range ?? 0..<count)))
  }
}

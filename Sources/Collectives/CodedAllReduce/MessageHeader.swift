internal import Transport

/// What stands before the codes of every message, in one cache line, so that a rank that runs out of step is noticed at once.
///
/// Little endian: magic u32, version u16, stage u8, flags u8, codec u64, step u64, shard u32, segment u32, payload bytes u32,
/// sender u32, samples u64, and zeros up to 64 bytes.
public struct MessageHeader: Hashable, Sendable {
  /// The size in bytes.
  public static let byteCount = 64
  package static let magic: UInt32 = 0x4553_524D  // "MRSE"
  package static let version: UInt16 = 1

  /// 1 for contributions on their way to their owner, 2 for sums on their way back.
  public var stage: UInt8
  /// The xxHash64 of the codec's specification.
  public var codec: UInt64
  /// The step of training.
  public var step: UInt64
  /// The shard the codes belong to.
  public var shard: UInt32
  /// The segment of the shard.
  public var segment: UInt32
  /// The bytes that follow the header; fewer than a segment's most if the lengths of codes vary.
  public var payloadByteCount: UInt32
  /// The rank that encoded them.
  public var sender: UInt32
  /// The samples in the minibatch, over all ranks; 0 where nobody said.
  public var samples: UInt64

  /// Writes the header at `memory`.
  package func write(to memory: UnsafeMutableRawPointer) {
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: MessageHeader.byteCount)
    memory.storeBytes(of: MessageHeader.magic.littleEndian, toByteOffset: 0, as: UInt32.self)
    memory.storeBytes(of: MessageHeader.version.littleEndian, toByteOffset: 4, as: UInt16.self)
    memory.storeBytes(of: stage, toByteOffset: 6, as: UInt8.self)
    memory.storeBytes(of: codec.littleEndian, toByteOffset: 8, as: UInt64.self)
    memory.storeBytes(of: step.littleEndian, toByteOffset: 16, as: UInt64.self)
    memory.storeBytes(of: shard.littleEndian, toByteOffset: 24, as: UInt32.self)
    memory.storeBytes(of: segment.littleEndian, toByteOffset: 28, as: UInt32.self)
    memory.storeBytes(of: payloadByteCount.littleEndian, toByteOffset: 32, as: UInt32.self)
    memory.storeBytes(of: sender.littleEndian, toByteOffset: 36, as: UInt32.self)
    memory.storeBytes(of: samples.littleEndian, toByteOffset: 40, as: UInt64.self)
  }

  /// The bytes that follow the header at `memory`, which this program has written.
  static func payloadByteCount(at memory: UnsafeRawPointer) -> Int {
    Int(UInt32(littleEndian: memory.loadUnaligned(fromByteOffset: 32, as: UInt32.self)))
  }

  /// Reads a header from `memory`; nil where magic or version are not ours.
  package init?(reading memory: UnsafeRawPointer) {
    func load<T: FixedWidthInteger>(_ offset: Int, as type: T.Type) -> T {
      T(littleEndian: memory.loadUnaligned(fromByteOffset: offset, as: T.self))
    }
    guard load(0, as: UInt32.self) == MessageHeader.magic, load(4, as: UInt16.self) == MessageHeader.version else { return nil }
    self.init(
      stage: load(6, as: UInt8.self), codec: load(8, as: UInt64.self), step: load(16, as: UInt64.self),
      shard: load(24, as: UInt32.self), segment: load(28, as: UInt32.self), payloadByteCount: load(32, as: UInt32.self),
      sender: load(36, as: UInt32.self), samples: load(40, as: UInt64.self))
  }

  /// A header of these fields.
  package init(
    stage: UInt8, codec: UInt64, step: UInt64, shard: UInt32, segment: UInt32, payloadByteCount: UInt32, sender: UInt32,
    samples: UInt64
  ) {
    self.stage = stage
    self.codec = codec
    self.step = step
    self.shard = shard
    self.segment = segment
    self.payloadByteCount = payloadByteCount
    self.sender = sender
    self.samples = samples
  }
}

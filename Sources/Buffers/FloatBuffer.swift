#if canImport(Glibc)
  import Glibc
#endif

/// Aligned floats at a fixed address, initially zero.
///
/// All parameters of a model are in one such buffer, all gradients in another of the same layout. The buffer either owns its
/// memory or keeps alive the object that does (a memory window shared by the ranks of a host).
@safe
public final class FloatBuffer: @unchecked Sendable {
  /// The first value; aligned to a cache line when this buffer owns its memory.
  public let baseAddress: UnsafeMutablePointer<Float>
  /// The number of values.
  public let count: Int
  /// What keeps the memory alive when this buffer does not own it.
  private let owner: AnyObject?

  /// Allocates `count` zeros, aligned to a cache line, and to a huge page if that pays.
  ///
  /// If the allocation fails, the process ends with an error message (``OutOfMemory/whenUnhandled(_:)``).
  public init(count: Int) {
    require(count >= 0, "a buffer cannot hold \(count) values")
    baseAddress = allocateAligned(count, of: 4).assumingMemoryBound(to: Float.self)
    self.count = count
    owner = nil
  }

  /// Uses memory that belongs to `owner`, which lives as long as this buffer.
  public init(sharing baseAddress: UnsafeMutablePointer<Float>, count: Int, owner: AnyObject) {
    self.baseAddress = baseAddress
    self.count = count
    self.owner = owner
  }

  deinit { if owner == nil { free(baseAddress) } }

  /// The value at `index`.
  public subscript(index: Int) -> Float {
    get {
      require(index >= 0 && index < count, "no value \(index) in a buffer of \(count)")
      return baseAddress[index]
    }
    set {
      require(index >= 0 && index < count, "no value \(index) in a buffer of \(count)")
      baseAddress[index] = newValue
    }
  }

  /// The values in `range`, for reading and writing through a pointer.
  public func values(in range: Range<Int>) -> UnsafeMutableBufferPointer<Float> {
    require(range.lowerBound >= 0 && range.upperBound <= count, "no values \(range) in a buffer of \(count)")
    return UnsafeMutableBufferPointer(start: baseAddress + range.lowerBound, count: range.count)
  }

  /// All values, for reading and writing through a pointer.
  public var values: UnsafeMutableBufferPointer<Float> { values(in: 0..<count) }

  /// Copies `other`, of the same count, into this buffer.
  public func copy(from other: FloatBuffer) {
    require(other.count == count, "cannot copy \(other.count) values into \(count)")
    memcpy(baseAddress, other.baseAddress, count * 4)
  }

  /// Sets every value to +0.
  public func clear() { memset(baseAddress, 0, count * 4) }
}

/// Aligned bytes at a fixed address, initially zero: messages are encoded into them and sent from them.
@safe
public final class ByteBuffer: @unchecked Sendable {
  /// The first byte, aligned to a cache line.
  public let baseAddress: UnsafeMutableRawPointer
  /// The number of bytes.
  public let count: Int
  private let owner: AnyObject?

  /// Allocates `count` zero bytes.
  ///
  /// If the allocation fails, the process ends with an error message (``OutOfMemory/whenUnhandled(_:)``).
  public init(count: Int) {
    require(count >= 0, "a buffer cannot hold \(count) bytes")
    baseAddress = allocateAligned(count, of: 1)
    self.count = count
    owner = nil
  }

  /// Uses memory that belongs to `owner`, which lives as long as this buffer.
  public init(sharing baseAddress: UnsafeMutableRawPointer, count: Int, owner: AnyObject) {
    self.baseAddress = baseAddress
    self.count = count
    self.owner = owner
  }

  deinit { if owner == nil { free(baseAddress) } }

  /// The bytes in `range`, for reading and writing through a pointer.
  public func bytes(in range: Range<Int>) -> UnsafeMutableRawBufferPointer {
    require(range.lowerBound >= 0 && range.upperBound <= count, "no bytes \(range) in a buffer of \(count)")
    return UnsafeMutableRawBufferPointer(start: baseAddress + range.lowerBound, count: range.count)
  }

  /// All bytes, for reading and writing through a pointer.
  public var bytes: UnsafeMutableRawBufferPointer { bytes(in: 0..<count) }
}

/// Zeroed memory for `count` values of `size` bytes, aligned to a cache line.
///
/// From 4 MiB it is aligned to a huge page, which avoids most TLB misses.
private func allocateAligned(_ count: Int, of size: Int) -> UnsafeMutableRawPointer {
  let (byteCount, isTooLarge) = count.multipliedReportingOverflow(by: size)
  guard !isTooLarge else { OutOfMemory("a buffer of \(count) values", byteCount: nil).endProcess() }
  let hugePage = 1 << 21
  let isHuge = byteCount >= 2 * hugePage
  var pointer: UnsafeMutableRawPointer?
  let status = posix_memalign(&pointer, isHuge ? hugePage : 64, max(byteCount, 64))
  guard status == 0, let pointer = pointer else {
    OutOfMemory("a buffer of \(count) values", byteCount: byteCount).endProcess()
  }
  if isHuge { _ = madvise(pointer, byteCount, 14 /* MADV_HUGEPAGE */) }
  memset(pointer, 0, max(byteCount, 64))
  return pointer
}

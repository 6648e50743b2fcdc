#if canImport(Glibc)
  import Glibc
#endif

/// Aligned floats at a fixed address, zero at the start.
///
/// All parameters of a model lie in one such buffer, all gradients in another of the same layout. The buffer either owns its
/// memory or keeps alive the object that does (a window of memory that the ranks of a host share).
@safe
public final class FloatBuffer: @unchecked Sendable {
  /// The first value; aligned to a cache line when this buffer owns its memory.
  public let baseAddress: UnsafeMutablePointer<Float>
  /// The number of values.
  public let count: Int
  /// What keeps the memory alive when this buffer does not own it.
  private let owner: AnyObject?

  /// Allocates `count` zeros, aligned to a cache line, and to a huge page where that pays.
  ///
  /// Where they cannot be had, the process ends with a sentence (``OutOfMemory/whenUnhandled(_:)``).
  public init(count: Int) {
    precondition(count >= 0, "a buffer cannot hold \(count) values")
    unsafe baseAddress = allocateAligned(count, of: 4).assumingMemoryBound(to: Float.self)
    self.count = count
    owner = nil
  }

  /// Uses memory that belongs to `owner`, which lives as long as this buffer.
  public init(sharing baseAddress: UnsafeMutablePointer<Float>, count: Int, owner: AnyObject) {
    unsafe self.baseAddress = baseAddress
    self.count = count
    self.owner = owner
  }

  deinit { if owner == nil { unsafe free(baseAddress) } }

  /// The value at `index`.
  public subscript(index: Int) -> Float {
    get {
      precondition(index >= 0 && index < count, "no value \(index) in a buffer of \(count)")
      return unsafe baseAddress[index]
    }
    set {
      precondition(index >= 0 && index < count, "no value \(index) in a buffer of \(count)")
      unsafe baseAddress[index] = newValue
    }
  }

  /// The values in `range`, for reading and writing through a pointer.
  public func values(in range: Range<Int>) -> UnsafeMutableBufferPointer<Float> {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "no values \(range) in a buffer of \(count)")
    return unsafe UnsafeMutableBufferPointer(start: baseAddress + range.lowerBound, count: range.count)
  }

  /// All values, for reading and writing through a pointer.
  public var values: UnsafeMutableBufferPointer<Float> { unsafe values(in: 0..<count) }

  /// Copies `other`, of the same count, into this buffer.
  public func copy(from other: FloatBuffer) {
    precondition(other.count == count, "cannot copy \(other.count) values into \(count)")
    unsafe memcpy(baseAddress, other.baseAddress, count * 4)
  }

  /// Sets every value to +0.
  public func clear() { unsafe memset(baseAddress, 0, count * 4) }
}

/// Aligned bytes at a fixed address, zero at the start: messages are encoded into them and sent from them.
@safe
public final class ByteBuffer: @unchecked Sendable {
  /// The first byte, aligned to a cache line.
  public let baseAddress: UnsafeMutableRawPointer
  /// The number of bytes.
  public let count: Int
  private let owner: AnyObject?

  /// Allocates `count` zero bytes.
  ///
  /// Where they cannot be had, the process ends with a sentence (``OutOfMemory/whenUnhandled(_:)``).
  public init(count: Int) {
    precondition(count >= 0, "a buffer cannot hold \(count) bytes")
    unsafe baseAddress = allocateAligned(count, of: 1)
    self.count = count
    owner = nil
  }

  /// Uses memory that belongs to `owner`, which lives as long as this buffer.
  public init(sharing baseAddress: UnsafeMutableRawPointer, count: Int, owner: AnyObject) {
    unsafe self.baseAddress = baseAddress
    self.count = count
    self.owner = owner
  }

  deinit { if owner == nil { unsafe free(baseAddress) } }

  /// The bytes in `range`, for reading and writing through a pointer.
  public func bytes(in range: Range<Int>) -> UnsafeMutableRawBufferPointer {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "no bytes \(range) in a buffer of \(count)")
    return unsafe UnsafeMutableRawBufferPointer(start: baseAddress + range.lowerBound, count: range.count)
  }

  /// All bytes, for reading and writing through a pointer.
  public var bytes: UnsafeMutableRawBufferPointer { unsafe bytes(in: 0..<count) }
}

/// Zeroed memory for `count` values of `size` bytes on a cache line; from 4 MiB on a huge page, which spares most misses in the
/// address cache.
private func allocateAligned(_ count: Int, of size: Int) -> UnsafeMutableRawPointer {
  let (byteCount, isTooLarge) = count.multipliedReportingOverflow(by: size)
  guard !isTooLarge else { OutOfMemory("a buffer of \(count) values", byteCount: nil).endProcess() }
  let hugePage = 1 << 21
  let isHuge = byteCount >= 2 * hugePage
  var pointer: UnsafeMutableRawPointer?
  let status = unsafe posix_memalign(&pointer, isHuge ? hugePage : 64, max(byteCount, 64))
  guard status == 0, let pointer = unsafe pointer else {
    OutOfMemory("a buffer of \(count) values", byteCount: byteCount).endProcess()
  }
  if isHuge { _ = unsafe madvise(pointer, byteCount, 14 /* MADV_HUGEPAGE */) }
  unsafe memset(pointer, 0, max(byteCount, 64))
  return unsafe pointer
}

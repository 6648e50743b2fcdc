public import Synchronization

/// A number in memory shared by several ranks or threads: one stores, others wait for it to grow.
///
/// What the storing rank wrote before ``store(_:)`` is visible to a rank once its ``load()`` has returned that number. A
/// counter fills a cache line, so that counters of different writers do not slow one another down.
public struct SharedCounter: @unchecked Sendable {
  /// The distance in bytes from one counter to the next.
  public static let byteCount = 64

  @usableFromInline let address: UnsafeMutablePointer<Atomic<Int>>

  /// Counter number `index` in `memory`, which must be zeroed and aligned to a cache line.
  public init(in memory: UnsafeMutableRawBufferPointer, index: Int) {
    requireOrStop(
      index >= 0 && (index + 1) * Self.byteCount <= memory.count,
      "there is no counter \(index) in \(memory.count) bytes")
    let place = memory.baseAddress! + index * Self.byteCount
    requireOrStop(UInt(bitPattern: place) % UInt(Self.byteCount) == 0, "a counter begins on a cache line")
    address = place.assumingMemoryBound(to: Atomic<Int>.self)
  }

  /// Returns the number; what its writer wrote before storing it is now visible.
  @inlinable
  public func load() -> Int { address.pointee.load(ordering: .acquiring) }

  /// Sets the number; what this rank wrote before becomes visible with it.
  @inlinable
  public func store(_ value: Int) { address.pointee.store(value, ordering: .releasing) }

  /// Atomically adds to the number, even if several ranks do, and returns the sum.
  @inlinable
  @discardableResult
  public func add(_ value: Int) -> Int {
    address.pointee.wrappingAdd(value, ordering: .acquiringAndReleasing).newValue
  }
}

public import Synchronization

/// A number in memory that several ranks or threads share: one stores, others wait for it to grow.
///
/// What the storing rank wrote before ``store(_:)`` can be read by a rank after its ``load()`` returned that number. A counter
/// fills a cache line, so that counters of different writers do not slow each other down.
public struct SharedCounter: @unchecked Sendable {
  /// The distance in bytes from one counter to the next.
  public static let byteCount = 64

  @usableFromInline let address: UnsafeMutablePointer<Atomic<Int>>

  /// The counter number `index` in `memory`, which is zeroed and aligned to a cache line.
  public init(in memory: UnsafeMutableRawBufferPointer, index: Int) {
    requireOrStop(
      index >= 0 && (index + 1) * Self.byteCount <= memory.count,
      "there is no counter \(index) in \(memory.count) bytes")
    let place = memory.baseAddress! + index * Self.byteCount
    requireOrStop(UInt(bitPattern: place) % UInt(Self.byteCount) == 0, "a counter begins on a cache line")
    address = place.assumingMemoryBound(to: Atomic<Int>.self)
  }

  /// The number; what its writer wrote before it is visible now.
  @inlinable
  public func load() -> Int { address.pointee.load(ordering: .acquiring) }

  /// Sets the number; what this rank wrote before becomes visible with it.
  @inlinable
  public func store(_ value: Int) { address.pointee.store(value, ordering: .releasing) }

  /// Adds to the number, also when several ranks do, and returns the sum.
  @inlinable
  @discardableResult
  public func add(_ value: Int) -> Int {
    address.pointee.wrappingAdd(value, ordering: .acquiringAndReleasing).newValue
  }
}

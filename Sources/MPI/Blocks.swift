internal import CMPI

/// The blocks of a buffer that the ranks send or receive, in the form that the C functions for varying counts take.
struct Blocks {
  let counts: [CInt]
  let displacements: [CInt]

  /// Nil if a block extends beyond what MPI can count.
  init?(_ ranges: [Range<Int>]) {
    guard ranges.allSatisfy({ $0.upperBound <= LargeCount.limit }) else { return nil }
    counts = ranges.map { CInt($0.count) }
    displacements = ranges.map { CInt($0.lowerBound) }
  }
}

/// The blocks of a buffer, each with its own datatype, which may include its displacement; supports every count.
///
/// Keeps its datatypes alive while an operation uses them.
final class TypedBlocks {
  private(set) var counts: [CInt] = []
  /// In bytes.
  private(set) var displacements: [CInt] = []
  private(set) var types: [MPI_Datatype?] = []
  private var owned: [CountedType] = []

  /// - Parameter skipping: a rank whose block is left out.
  init(_ elementType: ElementType, stride: Int, ranges: [Range<Int>], skipping: Int? = nil) throws {
    let element = try elementType.handle
    for (rank, range) in ranges.enumerated() {
      if range.isEmpty || rank == skipping {
        append(element, count: 0, displacement: 0)
      } else if range.upperBound <= min(LargeCount.limit, Int(Int32.max) / stride) {
        append(element, count: CInt(range.count), displacement: CInt(range.lowerBound * stride))
      } else {
        let type = try CountedType(element, range: range)
        owned.append(type)
        append(type.type, count: 1, displacement: 0)
      }
    }
  }

  private func append(_ type: MPI_Datatype, count: CInt, displacement: CInt) {
    types.append(type)
    counts.append(count)
    displacements.append(displacement)
  }

  deinit { for type in owned { type.release() } }
}

extension UnsafeBufferPointer {
  static var empty: Self { Self(start: nil, count: 0) }
}

extension UnsafeMutableBufferPointer {
  static var empty: Self { Self(start: nil, count: 0) }
}

/// Keeps a datatype alive while a non-blocking operation uses it.
final class TypeKeeper {
  private let type: CountedType
  init(_ type: CountedType) { self.type = type }
  deinit { type.release() }
}

/// Consecutive ranges of the given lengths.
func consecutiveRanges(_ counts: [Int]) -> [Range<Int>] {
  var start = 0
  return counts.map { count in
    defer { start += count }
    return start..<start + count
  }
}

// Arrays are copied as memory. Generic code that goes through sequences costs hundreds of nanoseconds per value if the compiler
// does not know their type, as in a library.

/// An array of the values in `source`.
func newArray<T: Datatype>(_ source: UnsafeBufferPointer<T>) -> [T] {
  [T](unsafeUninitializedCapacity: source.count) { buffer, initialized in
    copyValues(source, to: buffer)
    initialized = source.count
  }
}

/// The values of all arrays, one after another.
func flattened<T: Datatype>(_ arrays: [[T]]) -> [T] {
  let total = arrays.reduce(0) { $0 + $1.count }
  return [T](unsafeUninitializedCapacity: total) { buffer, initialized in
    var start = 0
    for array in arrays {
      array.withUnsafeBufferPointer { copyValues($0, to: UnsafeMutableBufferPointer(rebasing: buffer[start...])) }
      start += array.count
    }
    initialized = total
  }
}

/// The values of each range as a separate array.
func cut<T: Datatype>(_ flat: [T], at ranges: [Range<Int>]) -> [[T]] {
  flat.withUnsafeBufferPointer { flat in ranges.map { newArray(UnsafeBufferPointer(rebasing: flat[$0])) } }
}

/// Calls `body` with one value in memory, all its bytes included: the padding at its end is 0.
func withValue<T: Datatype, Result>(_ value: T, _ body: (UnsafeMutableBufferPointer<T>) throws -> Result) rethrows -> Result {
  try withUnsafeTemporaryAllocation(of: T.self, capacity: 1) { buffer in
    let bytes = UnsafeMutableRawBufferPointer(buffer)
    bytes.initializeMemory(as: UInt8.self, repeating: 0)
    withUnsafeBytes(of: value) { bytes.copyMemory(from: $0) }
    return try body(buffer)
  }
}

/// Copies values within one rank.
func copyValues<T: Datatype>(_ source: UnsafeBufferPointer<T>, to destination: UnsafeMutableBufferPointer<T>) {
  guard source.count > 0, source.baseAddress != UnsafePointer(destination.baseAddress) else { return }
  destination.baseAddress!.update(from: source.baseAddress!, count: source.count)
}

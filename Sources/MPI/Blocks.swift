internal import CMPI

/// The blocks of a buffer that the ranks send or receive, as the C functions for varying counts want them named.
struct Blocks {
  let counts: [CInt]
  let displacements: [CInt]

  /// Nil when a block reaches beyond what MPI can count.
  init?(_ ranges: [Range<Int>]) {
    guard ranges.allSatisfy({ $0.upperBound <= LargeCount.limit }) else { return nil }
    counts = ranges.map { CInt($0.count) }
    displacements = ranges.map { CInt($0.lowerBound) }
  }
}

/// The blocks of a buffer, each with a type of its own that may contain its place: reaches every count.
///
/// It keeps its types as long as an operation uses them.
final class TypedBlocks {
  private(set) var counts: [CInt] = []
  /// In bytes.
  private(set) var displacements: [CInt] = []
  private(set) var types: [MPI_Datatype?] = []
  private var owned: [CountedType] = []

  /// - Parameter skipping: a rank whose block does not take part.
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

/// Keeps a type as long as an operation that goes on uses it.
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

/// Copies values within one rank.
func copyValues<T: Datatype>(_ source: UnsafeBufferPointer<T>, to destination: UnsafeMutableBufferPointer<T>) {
  guard source.count > 0, source.baseAddress != UnsafePointer(destination.baseAddress) else { return }
  destination.baseAddress!.update(from: source.baseAddress!, count: source.count)
}

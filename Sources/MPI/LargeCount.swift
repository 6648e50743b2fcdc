internal import CMPI
internal import Synchronization

/// MPI counts in 32 bits; longer buffers go as one value of a derived datatype, or in pieces.
package enum LargeCount {
  private static let storedLimit = Atomic<Int>(Int(Int32.max))

  /// The largest count that is passed to MPI as it is.
  ///
  /// Tests lower it, on all ranks alike, to exercise the other paths.
  package static var limit: Int {
    get { storedLimit.load(ordering: .relaxed) }
    set {
      requireOrStop(newValue > 0 && newValue <= Int(Int32.max), "a limit of \(newValue) is outside 1…2³¹−1")
      storedLimit.store(newValue, ordering: .relaxed)
    }
  }

  /// Calls `body` with consecutive ranges of at most `limit` that together are `0..<count`.
  static func pieces(of count: Int, _ body: (Range<Int>) throws -> Void) rethrows {
    let limit = limit
    var start = 0
    while start < count {
      let end = min(start + limit, count)
      try body(start..<end)
      start = end
    }
  }
}

/// `count` elements in the form that MPI takes: a datatype and its count.
struct CountedType {
  let type: MPI_Datatype
  let count: CInt
  private let isOwned: Bool

  /// Up to MPI's limit, elements go as they are; more go as one value of a derived datatype.
  @inline(__always)
  init(_ elementType: ElementType, count: Int) throws {
    try self.init(elementType.handle, count: count, isLarge: count > LargeCount.limit)
  }

  /// The same, with the decision made by the caller.
  @inline(__always)
  init(_ element: MPI_Datatype, count: Int, isLarge: Bool) throws {
    if isLarge {
      type = try Self.derived(from: element, count: count, displacement: 0)
      self.count = 1
      isOwned = true
    } else {
      type = element
      self.count = CInt(count)
      isOwned = false
    }
  }

  /// `range` of the elements at an address, as one value at that address.
  init(_ element: MPI_Datatype, range: Range<Int>) throws {
    type = try Self.derived(from: element, count: range.count, displacement: range.lowerBound)
    count = 1
    isOwned = true
  }

  /// Call this once the datatype has been passed to MPI, which keeps it as long as it needs it.
  @inline(__always)
  func release() {
    if isOwned {
      var type: MPI_Datatype? = type
      _ = MPI_Type_free(&type)
    }
  }

  /// One value that consists of `count` elements, `displacement` elements after its address.
  ///
  /// Whole blocks of `limit` elements, then the rest: both counts fit in 32 bits up to 2⁶² elements.
  private static func derived(from element: MPI_Datatype, count: Int, displacement: Int) throws -> MPI_Datatype {
    try Runtime.start()
    let limit = LargeCount.limit
    var lowerBound = MPI_Aint()
    var extent = MPI_Aint()
    try check(MPI_Type_get_extent(element, &lowerBound, &extent), "MPI_Type_get_extent")
    var block: MPI_Datatype?
    var blocks: MPI_Datatype?
    var rest: MPI_Datatype?
    var whole: MPI_Datatype?
    defer {
      for type in [block, blocks, rest] where type != nil {
        var type = type
        _ = MPI_Type_free(&type)
      }
    }
    try check(MPI_Type_contiguous(CInt(min(limit, count)), element, &block), "MPI_Type_contiguous")
    try check(MPI_Type_contiguous(CInt(count / limit), block!, &blocks), "MPI_Type_contiguous")
    try check(MPI_Type_contiguous(CInt(count % limit), element, &rest), "MPI_Type_contiguous")
    let lengths: [CInt] = [1, 1]
    let displacements: [MPI_Aint] = [displacement * extent, (displacement + count / limit * limit) * extent]
    let types = [blocks, rest]
    try check(MPI_Type_create_struct(2, lengths, displacements, types, &whole), "MPI_Type_create_struct")
    try check(MPI_Type_commit(&whole), "MPI_Type_commit")
    return whole!
  }
}

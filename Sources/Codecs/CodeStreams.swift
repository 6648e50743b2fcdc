/// The streams of codes of a run: one for the contributions of each rank, and one for the sums of each owner.
///
/// Each slice of a model is exchanged by ranks of its own, whose streams are different from those of the other slices. They follow from
/// the places of ranks in the grid, not from the hosts that they are on.
public struct CodeStreams: Hashable, Sendable {
  /// The slice of the model that is exchanged.
  public var slice: Int
  /// The number of slices.
  public var sliceCount: Int

  /// The streams of one of `sliceCount` slices.
  public init(slice: Int = 0, of sliceCount: Int = 1) { (self.slice, self.sliceCount) = (slice, sliceCount) }

  /// The stream of the contributions of `rank`, one of those that hold the slice.
  public func contributions(of rank: Int) -> Int { 2 * (rank * sliceCount + slice) }

  /// The stream of the sums of `owner`.
  public func sums(of owner: Int) -> Int { contributions(of: owner) + 1 }
}

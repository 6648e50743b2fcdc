public import Testing

/// Why a test runs once; also what marks it as one that needs no other ranks.
let oneProcessReason: Comment = "needs no other ranks: runs once, without mpirun"

extension Trait where Self == ConditionTrait {
  /// For tests of what one process does alone: they run once, without `mpirun`, and not on each number of ranks.
  ///
  /// A test without it runs on all. One that has it and uses ``World/communicator`` fails.
  public static var oneProcess: Self { .enabled(if: !World.isLaunched, oneProcessReason) }

  /// For tests that need at least `count` ranks.
  public static func ranks(atLeast count: Int) -> Self {
    .enabled(if: World.count >= count, "needs \(count) ranks: run under mpirun")
  }

  /// For tests of time that passes, or of what is the same on any number of ranks: few ranks show it, and more take longer.
  public static func ranks(atMost count: Int) -> Self {
    .enabled(if: World.count <= count, "\(count) ranks are enough")
  }

  /// For tests of time that passes: ranks that wait take as long on any number of ranks.
  public static func ranks(only count: Int) -> Self {
    .enabled(if: World.count == count, "\(count) ranks show it")
  }

  /// For tests that start jobs or processes of their own, which a rank of a job cannot.
  public static var outsideMPI: Self {
    .enabled(if: !World.isLaunched, "starts processes of its own: runs without mpirun")
  }
}

public import Testing

extension Trait where Self == ConditionTrait {
  /// For tests that need at least `count` ranks.
  public static func ranks(atLeast count: Int) -> Self {
    .enabled(if: World.count >= count, "needs \(count) ranks: run under mpirun")
  }

  /// For tests that start jobs or processes of their own, which a rank of a job cannot.
  public static var outsideMPI: Self {
    .enabled(if: !World.isLaunched, "starts processes of its own: runs without mpirun")
  }
}

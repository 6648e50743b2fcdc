import Collectives
import MPI
import Testing
import _TestSupport

/// Ranks on a grid of shares and stripes.
@Suite(.serialized) struct RankGridTests {
  @Test(.oneProcess) func ranksOfAHostStandTogether() {
    #expect(RankGrid.order(of: []) == [])
    #expect(RankGrid.order(of: ["a"]) == [0])
    #expect(RankGrid.order(of: ["b", "b", "a", "a"]) == [0, 1, 2, 3])
    #expect(RankGrid.order(of: ["b", "a", "b", "a", "c"]) == [0, 2, 1, 3, 4])
  }

  @Test(arguments: transports, [1, 2, 3, 4]) func groupsAreRowsAndColumns(_ transport: Transport, _ stripeCount: Int) throws {
    // As many ranks as make a whole grid; the others stand aside.
    let count = allRanks.count / stripeCount * stripeCount
    guard let ranks = try allRanks.split(color: allRanks.rank < count ? .some(0) : nil) else { return }
    let grid = try RankGrid(HostMap(ranks, transport: transport), stripeCount: stripeCount)
    let rank = ranks.rank
    #expect(grid.all.world.rank == rank && grid.all.numbers == Array(0..<count))
    #expect(grid.shareCount == count / stripeCount && grid.share == rank / stripeCount && grid.stripe == rank % stripeCount)
    #expect(grid.dataGroup.numbers == Array(stride(from: grid.stripe, to: count, by: stripeCount)))
    #expect(grid.dataGroup.world.rank == grid.share && grid.dataGroup.world.count == grid.shareCount)
    if stripeCount > 1 {
      let group = try #require(grid.modelGroup)
      #expect(group.numbers == (0..<stripeCount).map { grid.share * stripeCount + $0 })
      #expect(group.world.rank == grid.stripe && group.name(of: 1).hasPrefix("rank \(grid.share * stripeCount + 1) on "))
    } else {
      #expect(grid.modelGroup == nil)
    }
    if transport == .messages { #expect(grid.dataGroup.host == nil && grid.modelGroup?.host == nil) }
  }
}

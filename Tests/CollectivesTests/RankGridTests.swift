import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Ranks on a grid of shares and slices.
@Suite(.serialized) struct RankGridTests {
  @Test(.oneProcess) func ranksOfAHostStandTogether() {
    #expect(RankGrid.order(of: []) == [])
    #expect(RankGrid.order(of: ["a"]) == [0])
    #expect(RankGrid.order(of: ["b", "b", "a", "a"]) == [0, 1, 2, 3])
    #expect(RankGrid.order(of: ["b", "a", "b", "a", "c"]) == [0, 2, 1, 3, 4])
  }

  @Test(arguments: transports, [1, 2, 3, 4]) func groupsAreRowsAndColumns(_ transport: Transport, _ sliceCount: Int) throws {
    // As many ranks as make a whole grid; the others stand aside.
    let count = allRanks.count / sliceCount * sliceCount
    guard let ranks = try allRanks.split(color: allRanks.rank < count ? .some(0) : nil) else { return }
    let grid = try RankGrid(HostMap(ranks, transport: transport), sliceCount: sliceCount)
    let rank = ranks.rank
    #expect(grid.all.world.rank == rank && grid.all.numbers == Array(0..<count))
    #expect(grid.shareCount == count / sliceCount && grid.share == rank / sliceCount && grid.slice == rank % sliceCount)
    #expect(grid.dataGroup.numbers == Array(stride(from: grid.slice, to: count, by: sliceCount)))
    #expect(grid.dataGroup.world.rank == grid.share && grid.dataGroup.world.count == grid.shareCount)
    if sliceCount > 1 {
      let group = try #require(grid.modelGroup)
      #expect(group.numbers == (0..<sliceCount).map { grid.share * sliceCount + $0 })
      #expect(group.world.rank == grid.slice && group.name(of: 1).hasPrefix("rank \(grid.share * sliceCount + 1) on "))
    } else {
      #expect(grid.modelGroup == nil)
    }
    if transport == .messages { #expect(grid.dataGroup.host == nil && grid.modelGroup?.host == nil) }
  }
}

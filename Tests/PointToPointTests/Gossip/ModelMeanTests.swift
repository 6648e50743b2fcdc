import Buffers
import MPI
import PointToPoint
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// What means of models, and gathers of a few values, count.
@Suite(.serialized) struct ModelMeanTests {
  private let world = allRanks

  /// Every model goes to the owners of its values, each owner's mean to all others, and 8 bytes of each worker's distance.
  @Test(arguments: [1, 3]) func bytesAreCountedAndPredicted(_ localCount: Int) throws {
    let count = 11
    let mean = ModelMean(try HostMap(world), localCount: localCount, count: count)
    let (models, result) = ((0..<localCount).map { _ in FloatBuffer(count: count) }, FloatBuffer(count: count))
    #expect(mean.traffic == Traffic())
    for times in 1...2 {
      _ = try mean.take(models, into: result)
      #expect(mean.traffic == mean.predictedTraffic * times)
    }
    let others = world.count - 1
    let all = 2 * others * (4 * count * (localCount + 1) + 8 * localCount * world.count)
    #expect(try world.allReduce(mean.traffic.bytesSent, .sum) == all)
    #expect(try world.allReduce(mean.traffic.bytesReceived, .sum) == all)
    #expect(mean.traffic.messagesSent == 2 * (localCount + 2) * others)
  }

  /// A rank gives its values to each other one, and takes theirs; if their numbers differ, these come first.
  @Test func gathersAreCounted() throws {
    let (hosts, rank, others) = (try HostMap(world), world.rank, world.count - 1)
    var traffic = Traffic()
    let varying = try hosts.gather(
      varying: Array(repeating: Int64(rank), count: rank), activity: "a test", counting: &traffic)
    #expect(varying == (0..<world.count).map { Array(repeating: Int64($0), count: $0) })
    #expect(traffic.bytesSent == 8 * (1 + rank) * others)
    #expect(traffic.bytesReceived == 8 * (others + world.count * others / 2 - rank))
    #expect(traffic.messagesSent == 2 * others)
    let before = traffic
    #expect(try hosts.gather([Int32(rank), 7], activity: "a test", counting: &traffic).count == 2 * world.count)
    let spent = traffic - before
    #expect((spent.bytesSent, spent.bytesReceived, spent.messagesSent) == (8 * others, 8 * others, others))
  }
}

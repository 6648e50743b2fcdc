import Collectives
import MPI
import Testing
import Transport
@testable import _CollectivesSupport

/// What is measured of the links between hosts.
@Suite(.serialized) struct LinkSpeedTests {
  /// Ranks of one host have no link; otherwise all ranks hear the same.
  @Test(arguments: transports) func allRanksHearTheSame(_ transport: Transport) throws {
    let hosts = try HostMap(allRanks, transport: transport)
    let speed = try LinkSpeed.measured(between: hosts)
    #expect((speed == nil) == (Set(hosts.leaders).count == 1))
    guard let speed else { return }
    #expect(speed.latency > 0 && speed.latency < 10 && speed.bytesPerSecond > 1e3 && speed.bytesPerSecond < 1e13)
    #expect(try isSameOnAllRanks([Float(speed.latency), Float(speed.bytesPerSecond)]))
  }

  /// Ranks that share a host measure with the others, and only one of them sends.
  @Test(.enabled(if: allRanks.count >= 3)) func neighboursWait() throws {
    let hosts = try HostMap(allRanks, pretendedHost: allRanks.rank / 2)
    let speed = try #require(try LinkSpeed.measured(between: hosts))
    #expect(try isSameOnAllRanks([Float(speed.latency), Float(speed.bytesPerSecond)]))
  }
}

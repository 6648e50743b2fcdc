import Buffers
import Codecs
import Collectives
import Foundation
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Hierarchical exchanges, on one host whose ranks pretend to be on several.
@Suite(.serialized) struct HierarchyTests {
  /// The host of each rank: pairs, a large and small ones, neighbours far apart, all on one, each on its own.
  static func distributions(_ rankCount: Int) -> [[Int]] {
    [
      (0..<rankCount).map { $0 / 2 },
      (0..<rankCount).map { max(0, $0 - rankCount / 2) },
      (0..<rankCount).map { $0 % 2 },
      (0..<rankCount).map { _ in 0 },
      Array(0..<rankCount),
    ]
  }

  static let codecs: [ReferenceCodec] = [.none, .oneBit(elements: nil), .oneBit(elements: 4)]

  /// Agents are of their party, owners serve themselves, and the work is shared.
  @Test(.oneProcess) func routesAreSound() {
    for rankCount in 1...9 {
      for hosts in Self.distributions(rankCount) {
        let leaders = hosts.map { hosts.firstIndex(of: $0)! }
        for isHierarchical in [false, true] {
          let routes = ExchangeRoutes(leaders: leaders, isHierarchical: isHierarchical)
          #expect(routes.parties.flatMap { $0 }.sorted() == Array(0..<rankCount))
          for shard in 0..<rankCount {
            let contributors = routes.contributors(toShard: shard)
            #expect(contributors.contains(shard) && contributors.count == routes.parties.count)
            #expect(contributors.map { routes.partyOfRank[$0] } == Array(routes.parties.indices))
            #expect(contributors.allSatisfy { routes.contributes($0, toShard: shard) })
            for rank in 0..<rankCount {
              let source = routes.source(ofShard: shard, for: rank)
              #expect(routes.areOnOneHost(source, rank) && (source == shard || contributors.contains(source)))
            }
            #expect(Set(routes.receivers(ofShard: shard)) == Set(contributors.filter { leaders[$0] != leaders[shard] }))
          }
        }
      }
    }
  }

  @Test(.enabled(if: allRanks.count > 1), arguments: codecs, [Overlap.off, .thread])
  func equalsTheReference(_ codec: ReferenceCodec, _ overlap: Overlap) throws {
    let (rank, rankCount) = (allRanks.rank, allRanks.count)
    for hosts in Self.distributions(rankCount) {
      let hostCount = Set(hosts).count
      // On one host, or with a host for each rank, hierarchical is flat.
      let parties = hostCount > 1 ? hostCount : rankCount
      // Many ranks on few cores take their time.
      for layout in rankCount < 8 ? [Layouts.awkward, Layouts.single, Layouts.manyGroups] : [Layouts.awkward] {
        let map = try HostMap(allRanks, pretendedHost: hosts[rank])
        let gradient = try SharedGradient(count: layout.count, hosts: map)
        var options = randomDelays(seed: 71)
        options.topology = .hierarchical
        let exchange = try CodedAllReduce(try makeCodec(codec), layout: layout, gradient: gradient, options: options)
        let driver = ExchangeDriver(overlap)
        var state = ReferenceExchange(layout, codec, rankCount: parties)
        for step in 0..<3 {
          // The plain code takes longest: one rank runs it for all.
          var expected = [Float](repeating: 0, count: layout.count)
          if rank == 0 {
            let gradients = drawGradients(count: layout.count, seed: 72, step: step, rankCount: rankCount)
            expected = hostCount > 1 ? state.run(gradients, hosts: hosts) : state.run(gradients)
          }
          try allRanks.broadcast(&expected)
          gradient.values.set(drawGradient(count: layout.count, seed: 72, step: step, rank: rank))
          let output = FloatBuffer(count: layout.count)
          output.fill(.nan)
          try exchange.begin(Contribution(step: step))
          driver.drive(exchange)
          try driver.deliver(exchange, into: .buffer(output))
          #expect(firstDifference(output.array, expected) == nil, "hosts \(hosts), step \(step)")
        }
        #expect(exchange.traffic == exchange.predictedTraffic * 3, "hosts \(hosts)")
        guard codec != .none, hostCount > 1 else { continue }
        // The residual of a party is that of its agents, shard by shard; others keep none.
        let residuals = try gatherAll(exchange.residual.array)
        for party in 0..<parties where rank == 0 {
          let members = exchange.routes.parties[party]
          let sum = (0..<layout.count).map { index in members.reduce(Float(0)) { $0 + residuals[$1][index] } }
          #expect(firstDifference(sum, state.residuals[party]) == nil, "hosts \(hosts), party \(party)")
        }
      }
    }
  }

  /// Residuals that ranks bring who do not encode them go to those of their host who do.
  @Test(.enabled(if: allRanks.count > 1)) func residualsGoToThoseWhoEncodeThem() throws {
    let (rank, rankCount) = (allRanks.rank, allRanks.count)
    for hosts in Self.distributions(rankCount) {
      let map = try HostMap(allRanks, pretendedHost: hosts[rank])
      var options = CodedAllReduce.Options()
      options.topology = .hierarchical
      let layout = Layouts.awkward
      let exchange = try CodedAllReduce(
        try makeCodec(.oneBit(elements: 4)), layout: layout, gradient: try SharedGradient(count: layout.count, hosts: map),
        options: options)
      // Whole numbers, so that sums are exact; none is zero.
      func brought(_ rank: Int, _ index: Int) -> Float { Float(1 + (7 * rank + 3 * index) % 50) }
      for index in 0..<layout.count { exchange.residual[index] = brought(rank, index) }
      try exchange.place()
      let placed = exchange.residual.array
      let all = try allRanks.allGather(varying: placed)
      let isFlat = Set(hosts).count == 1 || Set(hosts).count == rankCount
      for index in 0..<layout.count {
        for host in Set(hosts) {
          let party = (0..<rankCount).filter { hosts[$0] == host }
          let values = party.map { all[$0][index] }
          #expect(values.reduce(0, +) == party.reduce(0) { $0 + brought($1, index) })
          if !isFlat { #expect(values.filter { $0 != 0 }.count == 1) }
        }
      }
      try exchange.place()
      #expect(exchange.residual.array == placed)
    }
  }

  /// In place as well, where neighbours read one another's gradients.
  @Test(.enabled(if: allRanks.count > 1), arguments: [ReferenceCodec.none, .oneBit(elements: nil)])
  func sumsInPlace(_ codec: ReferenceCodec) throws {
    let (rank, rankCount) = (allRanks.rank, allRanks.count)
    for hosts in Self.distributions(rankCount) where Set(hosts).count > 1 {
      for topology in [Topology.flat, .hierarchical] {
        let layout = rankCount < 8 ? Layouts.manyGroups : Layouts.awkward
        let map = try HostMap(allRanks, pretendedHost: hosts[rank])
        let gradient = try SharedGradient(count: layout.count, hosts: map)
        var options = randomDelays(seed: 73)
        options.topology = topology
        let exchange = try CodedAllReduce(try makeCodec(codec), layout: layout, gradient: gradient, options: options)
        var state = ReferenceExchange(layout, codec, rankCount: topology == .flat ? rankCount : Set(hosts).count)
        for step in 0..<3 {
          let gradients = drawGradients(count: layout.count, seed: 74, step: step, rankCount: rankCount)
          let expected = topology == .flat ? state.run(gradients) : state.run(gradients, hosts: hosts)
          gradient.values.set(gradients[rank])
          try exchange.run(step: step, into: .inPlace)
          #expect(firstDifference(gradient.values.array, expected) == nil, "hosts \(hosts), \(topology), step \(step)")
        }
      }
    }
  }

  /// Four hosts of two ranks: one copy of each shard leaves a host instead of two.
  @Test(.oneProcess) func halfTheBytesLeaveAHostOfTwoRanks() throws {
    let layout = TrafficTests.models[0].layout
    for codec in [ReferenceCodec.none, .oneBit(elements: nil)] {
      let geometry = ExchangeGeometry(layout, codec: try makeCodec(codec), rankCount: 8, rule: .messages)
      let leaders = [0, 0, 2, 2, 4, 4, 6, 6]
      let routes = [false, true].map { ExchangeRoutes(leaders: leaders, isHierarchical: $0) }
      for host in 0..<4 {
        let bytes = routes.map { routes in
          [2 * host, 2 * host + 1].reduce(0) { $0 + geometry.predictedTraffic(of: $1, over: routes).networkBytesSent }
        }
        #expect(Double(bytes[1]) <= 0.55 * Double(bytes[0]), "host \(host): \(bytes)")
      }
    }
  }
}

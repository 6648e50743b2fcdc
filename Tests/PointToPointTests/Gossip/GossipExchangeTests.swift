import Buffers
import Codecs
import Foundation
import MPI
import PointToPoint
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Workers on several ranks that mix their models: what travels, who waits for whom, and where all end.
@Suite(.serialized) struct GossipExchangeTests {
  private let world = allRanks

  private static func gradient(_ worker: Int, _ step: Int, _ place: Int, _ x: Float) -> Float {
    0.05 * (x - Float((worker * 3 + step + place) % 7))
  }

  private static func methods(_ workers: Int) -> [(name: String, method: GossipExchange.Method, combinesFirst: Bool)] {
    let ring = MixingMatrix(metropolis: GossipGraph(.ring, count: workers))
    let bits = (try? codecs.make("one-bit:group=64")) ?? Identity()
    return [
      ("d-psgd", .mixing(ring), true), ("choco", .compressedMixing(ring, codec: bits, gamma: 0.5), false),
      ("choco, code order", .compressedMixing(ring, codec: bits, gamma: 0.5), true),
      ("choco, varying", .compressedMixing(ring, codec: Halves(), gamma: 0.5), false),
      ("push-sum", .pushSum(.random), false), ("push-sum, one peer", .pushSum(.onePeer), true),
      ("no-loco", .outerPairs(every: 2, OuterPairStep()), false),
    ]
  }

  /// The models of 12 workers have the same bits on any number of ranks, over meetings and after a move to other ranks.
  @Test(.ranks(atMost: 4)) func bitsDoNotDependOnRanks() throws {
    let alone = try world.split(color: world.rank)!
    let starts = normalModels(workers: 12, count: 300)
    for (name, method, combinesFirst) in Self.methods(12) {
      func train(on ranks: Communicator, meetings: Bool) throws -> [[Float]] {
        let trial = try GossipTrial(method, workers: 12, count: 300, combinesFirst: combinesFirst, on: ranks)
        try trial.set(starts)
        let mean = FloatBuffer(count: trial.count)
        for segment in meetings ? [0..<3, 3..<4, 4..<9] : [0..<9] {
          try trial.run(segment, gradient: Self.gradient)
          if meetings { _ = try trial.exchange.meet(into: mean) }
        }
        return try trial.models()
      }
      let found = try train(on: world, meetings: false)
      #expect(try train(on: alone, meetings: true) == found, "\(name)")
      #expect(Set(found).count == 12, "\(name)")
    }
    try world.barrier()
  }

  /// Sums over workers move by the gradients alone, and every rank gets the mean and the distance from it.
  @Test func mixingKeepsTheMean() throws {
    let workers = world.count
    for (name, method, combinesFirst) in Self.methods(workers) where name != "no-loco" {
      let trial = try GossipTrial(method, workers: workers, count: 300, combinesFirst: combinesFirst)
      let starts = normalModels(workers: workers, count: 300)
      try trial.set(starts)
      try trial.run(0..<12) { _, _, place, _ in Float(place % 5) / 16 }
      let mean = FloatBuffer(count: trial.count)
      let distance = try trial.exchange.meet(into: mean)
      let shown = try trial.models()
      #expect(try isSameOnAllRanks((0..<trial.count).map { mean[$0] }))
      for place in 0..<trial.count {
        let right = starts.mean[place] - 12 * Double(place % 5) / 16
        #expect(abs(Double(mean[place]) - right) < 1e-5, "\(name) \(place)")
      }
      let right = shown.reduce(0.0) { sum, model in
        sum + model.indices.reduce(0.0) { $0 + pow(Double(model[$1] - mean[$1]), 2) } / Double(workers)
      }
      #expect(abs(distance - right) <= 1e-4 * right + 1e-9, "\(name): \(distance) \(right)")
    }
  }

  /// All hold the same copies: a rank that has read them anew goes on with the same bits.
  @Test(.ranks(atMost: 4)) func copiesAreTheSameWhereverTheyAreHeld() throws {
    let workers = 2 * world.count
    let method = Self.methods(workers)[1].method
    func train(sharing: Bool) throws -> [[Float]] {
      let trial = try GossipTrial(method, workers: workers, count: 300)
      try trial.set(normalModels(workers: workers, count: 300))
      for step in 0..<6 {
        try trial.run(step..<step + 1, gradient: Self.gradient)
        if sharing { try trial.exchange.settleState() }
      }
      return try trial.models()
    }
    #expect(try train(sharing: true) == train(sharing: false))
  }

  /// What is counted is what the format says: deg·(E + 16) bytes.
  @Test func countsAreAsPredicted() throws {
    for workers in [world.count, 3 * world.count] {
      for (name, method, combinesFirst) in Self.methods(workers) {
        let trial = try GossipTrial(method, workers: workers, count: 15_000, combinesFirst: combinesFirst)
        try trial.run(0..<4, gradient: Self.gradient)
        let (found, predicted) = (trial.exchange.messageTraffic, trial.exchange.predictedTraffic(in: 0..<4))
        if name.hasSuffix("varying") {
          #expect(found.bytesSent <= predicted.bytesSent && found.messagesSent == predicted.messagesSent, "\(name)")
        } else {
          #expect(found == predicted, "\(name) \(workers): \(found) \(predicted)")
        }
        guard workers == world.count else { continue }
        let degree = min(2, workers - 1)
        switch name {
        case "d-psgd": #expect(predicted.bytesSent == 4 * degree * (4 * trial.count + 16))
        case "push-sum": #expect(predicted.bytesSent == 4 * min(1, workers - 1) * (4 * trial.count + 20))
        case "choco":
          // 64 bits and two means for each 64 values.
          #expect(predicted.bytesSent == 4 * degree * (trial.count / 64 * 16 + 16))
        default: break
        }
      }
    }
  }

  /// What goes to ranks of the same host is counted inside it, and predicted there, unless no memory is shared.
  @Test func bytesStayInsideAHost() throws {
    let matrix = MixingMatrix(metropolis: GossipGraph(.complete, count: world.count))
    for (hosts, companions) in [
      (try HostMap(world), world.count - 1), (try HostMap(world, transport: .messages), 0),
      (try HostMap(world, pretendedHost: world.rank / 2), (0..<world.count).count { $0 / 2 == world.rank / 2 } - 1),
    ] {
      let trial = try GossipTrial(.mixing(matrix), workers: world.count, count: 512, hosts: hosts)
      try trial.run(0..<3, gradient: Self.gradient)
      let (found, predicted) = (trial.exchange.messageTraffic, trial.exchange.predictedTraffic(in: 0..<3))
      #expect(found == predicted, "\(companions): \(found) \(predicted)")
      let byteCount = 3 * (4 * trial.count + 16)
      #expect(found.hostBytesSent == companions * byteCount && found.hostBytesReceived == companions * byteCount)
      #expect(found.bytesSent == (world.count - 1) * byteCount)
    }
  }

  /// A rank that has not begun holds up its neighbours in the first step, theirs in the second, and nobody else: the one across the ring
  /// does its steps before the late one begins.
  @Test(.ranks(atLeast: 4)) func onlyNeighboursWait() throws {
    let across = world.count / 2
    let matrix = MixingMatrix(metropolis: GossipGraph(.ring, count: world.count))
    for combinesFirst in [true, false] {
      let trial = try GossipTrial(.mixing(matrix), workers: world.count, count: 64, combinesFirst: combinesFirst)
      var word: [Int64] = [0]
      // Begins when the one across has done its steps; with a barrier, or a root, neither would come to that.
      if world.rank == 0 { try word.withUnsafeMutableBufferPointer { _ = try world.receive(into: $0, from: across) } }
      try trial.run(0..<across - 1, gradient: Self.gradient)
      if world.rank == across { try world.send([Int64(1)], to: 0) }
      try trial.run(across - 1..<across + 3, gradient: Self.gradient)
      let models = try trial.models()
      #expect(models.distance > 0)
    }
  }

  /// Where a rank is asked to stop, all end before the same step, soon.
  @Test func stopsSpreadFromNeighbourToNeighbour() throws {
    for (name, method, combinesFirst) in Self.methods(world.count) {
      let trial = try GossipTrial(method, workers: world.count, count: 64, combinesFirst: combinesFirst)
      for asked in [[world.count - 1: 5], world.count > 1 ? [0: 5, world.count / 2: 6] : [0: 7]] {
        var step = 0
        let end = try trial.exchange.run(
          0..<4000, isStopRequested: { asked[world.rank].map { step >= $0 } ?? false },
          work: { _, number, _, _, _ in
            step = number + 1
            return 0
          }, update: { _, _, _, _, _ in })
        #expect(step == end && end > 5 && end < 200, "\(name): \(end)")
        #expect(Set(try world.allGather([Int64(end)])).count == 1, "\(name)")
        _ = try trial.exchange.meet(into: FloatBuffer(count: trial.count))
      }
    }
  }

  /// A worker whose difference is not finite is left out of the copies until it is.
  @Test(.ranks(atMost: 3)) func valuesThatAreNotFiniteStay() throws {
    let workers = 2 * world.count
    let trial = try GossipTrial(Self.methods(workers)[1].method, workers: workers, count: 256)
    for scale in [Float(bitPattern: 700), 1, 3e37] {
      try trial.set(normalModels(workers: workers, count: 256).map { $0.map { scale * $0 } })
      try trial.run(0..<3)
      #expect(try trial.models().joined().allSatisfy(\.isFinite))
    }
    var models = normalModels(workers: workers, count: 256)
    models[0][3] = .infinity
    try trial.set(models)
    try trial.run(0..<2)
    #expect(try trial.models().dropFirst().joined().allSatisfy(\.isFinite))
    #expect(world.rank > 0 || trial.exchange.nonFiniteGroups > 0)
  }
}

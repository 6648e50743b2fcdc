import Buffers
import Codecs
import MPI
import PointToPoint
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// All rules of workers and owners, over ranks.
@Suite(.serialized, .ranks(atMost: 4)) struct ServerRanksTests {
  private let world = allRanks

  private static let rules: [(name: String, change: @Sendable (inout ParameterServer.Settings) -> Void)] = [
    ("push=3", { $0.minibatchesPerPush = 3 }), ("pull-every=2", { $0.pushesPerPull = 2 }),
    ("pipeline", { $0.isPipelined = true }), ("pipeline, bound", { ($0.isPipelined, $0.bound) = (true, 0...1) }),
    ("bound=1..4", { $0.bound = 1...4 }), ("softsync=3", { ($0.pushesPerUpdate, $0.rule.rate) = (3, .inverse) }),
    ("elastic", { ($0.method, $0.minibatchesPerPush) = (.elastic(alpha: 0.1), 3) }),
    ("elastic, bound", { ($0.method, $0.bound) = (.elastic(alpha: 0.1), 0...0) }),
    ("elastic, together", { ($0.method, $0.bound) = (.elastic(alpha: 0.1, together: true), 0...0) }),
    (
      "local steps",
      { ($0.method, $0.minibatchesPerPush) = (.localSteps(OuterStep(rate: 0.7, momentum: 0.5, weight: .stale)), 3) }
    ),
  ]

  /// Codecs, and whether the first rank has no shard and the others unequal ones.
  private static let forms = [("none", false), ("one-bit", false), ("one-bit", true)]

  /// The shares of these ranks.
  private func shares(_ count: Int) -> [Int]? { count == 1 ? nil : (0..<count).map { $0 } }

  /// In a listed order the bits of the model and of workers are those of one rank, with gradients that do not count, with segments
  /// that are no whole number of blocks, with one minibatch or none, and with a model that has fewer groups than ranks.
  @Test func listedOrdersGiveTheBitsOfOneRank() throws {
    let (all, alone) = (try HostMap(world), try HostMap(world.split(color: world.rank)))
    for (codec, isUneven) in Self.forms {
      for (name, change) in Self.rules {
        for layout in [TensorLayout([("a", [3, 33]), ("b", [7]), ("c", [1])]), TensorLayout([("a", [2])])] {
          var settings = ParameterServer.Settings(workerCount: 12)
          change(&settings)
          func run(_ hosts: HostMap) throws -> (model: [Float], workers: [(worker: Int, values: FloatBuffer)]) {
            if isUneven { settings.shares = shares(hosts.world.count) }
            var target = TargetModel(settings, layout: layout)
            target.codec = try codecs.make(codec)
            let server = try target.server(hosts)
            let model = try target.train(server, [0..<31, 31..<95, 95..<95, 95..<96], .exponential, skipping: 40)
            return (model, server.workerValues)
          }
          guard 12 % world.count == 0 else { continue }
          let (found, expected) = (try run(all), try run(alone))
          #expect(found.model == expected.model, "\(name) \(codec) \(layout.count)")
          #expect(Set(found.model).count > layout.count / 2)
          for (worker, values) in found.workers {
            let right = expected.workers.first { $0.worker == worker }!.values
            #expect(Array(values.values) == Array(right.values), "\(name) \(codec) worker \(worker)")
          }
        }
      }
    }
    try world.barrier()
  }

  /// Live, every rule does every minibatch once and ends, also if it is stopped; a second run in the orders of the first has its bits.
  @Test func recordedOrdersAreReplayed() throws {
    let hosts = try HostMap(world)
    for (codec, isUneven) in Self.forms {
      for (name, change) in Self.rules {
        var settings = ParameterServer.Settings(workerCount: world.count)
        change(&settings)
        if isUneven { settings.shares = shares(world.count) }
        let owns = settings.shares?[world.rank] != 0
        var orders: [[Int]] = []
        var ends: [Int] = []
        func run(replays: Bool) throws -> [Float] {
          var target = TargetModel(settings)
          target.codec = try codecs.make(codec)
          let server = try target.server(hosts)
          var (done, start) = ([Double](repeating: 0, count: 100), 0)
          for (index, length) in [12 * world.count, 19].enumerated() {
            let planned = start..<start + length
            // The first segment is stopped after three pushes.
            let count = try server.run(
              replays ? start..<ends[index] : planned, of: planned, usesFloats: false,
              order: replays ? .listed(orders[index]) : .live,
              isStopRequested: { !replays && index == 0 && server.history.count >= 3 }
            ) { _, minibatch, parameters, gradient, serve in
              for (i, value) in target.gradient(minibatch, at: parameters.values).enumerated() { gradient[i] = value }
              serve()
              done[minibatch] += 1
              return 1
            }
            if !replays {
              orders.append(server.history)
              ends.append(start + count)
            }
            #expect(server.history.count { $0 >= 0 } == (owns ? settings.pushCount(of: planned, upTo: start + count) : 0))
            start += count
          }
          let all = try world.allGather(done)
          for minibatch in 0..<done.count {
            let times = (0..<world.count).reduce(0) { $0 + all[$1 * done.count + minibatch] }
            #expect(times == (minibatch < start ? 1 : 0), "\(name) \(minibatch)")
          }
          return Array(target.model.values)
        }
        let (live, replayed) = (try run(replays: false), try run(replays: true))
        #expect(live == replayed, "\(name) \(codec)")
        let models = try world.allGather(live)
        for rank in 0..<world.count { #expect(Array(models[rank * live.count..<(rank + 1) * live.count]) == live) }
      }
    }
  }
}

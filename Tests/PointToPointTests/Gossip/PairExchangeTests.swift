import Buffers
import Foundation
import MPI
import PointToPoint
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Workers on several ranks that average in pairs.
@Suite(.serialized) struct PairExchangeTests {
  private let world = allRanks
  private let hosts: HostMap

  init() throws { hosts = try HostMap(world) }

  private init(hosts: HostMap) { self.hosts = hosts }

  private static let random = Philox(seed: 4, purpose: .tests)

  /// The gradient of a linear model towards a random target, times the rate.
  private static func gradient(_ minibatch: Int, _ place: Int, _ value: Float) -> Float {
    0.2 * (value - random.uniform(place + 10_000 * (minibatch % 3)))
  }

  private static func start(_ count: Int) -> FloatBuffer {
    let model = FloatBuffer(count: count)
    for place in 0..<count { model[place] = random.uniform(place, tensor: 1) }
    return model
  }

  private static let segments = [0..<13, 13..<40, 40..<40, 40..<42]

  /// Trains over three meetings; the mean, the models of all workers, and the distances at the meetings.
  private func train(_ count: Int, _ settings: PairExchange.Settings, _ speed: EmulatedSpeed) throws
    -> (mean: [Float], models: [Float], distances: [Double])
  {
    let exchange = try PairExchange(hosts, count: count, settings: settings)
    let mean = Self.start(count)
    exchange.start(from: mean)
    var distances: [Double] = []
    for segment in Self.segments {
      let events = speed.events(of: segment, over: settings.graph, shares: settings.shares, seed: settings.seed).events
      try exchange.run(segment, order: .listed(events)) { _, minibatch, parameters, gradient, serve in
        for place in 0..<count {
          gradient[place] = Self.gradient(minibatch, place, parameters[place])
          if place % 100 == 50 { serve() }
        }
        return minibatch == 5 ? 0 : 3
      } update: { _, minibatch, model, gradient, samples in
        #expect(samples == 3 && minibatch != 5)
        for place in 0..<count { model[place] -= gradient[place] }
      }
      distances.append(try exchange.meet(into: mean))
    }
    return (Array(mean.values), Array(exchange.models.values), distances)
  }

  /// In a listed order the models of all workers are those of the paper's algorithm on plain arrays, on any number of ranks.
  @Test(.ranks(atMost: 4)) func listedOrdersAreThePapersAlgorithm() throws {
    for (shape, workers, count) in [
      (GossipGraph.Shape.ring, 12, 1), (.complete, 12, 3), (.exponential, 12, 14_000), (.ring, 4, 517),
    ] {
      guard workers % world.count == 0 else { continue }
      for (speed, shares) in [(EmulatedSpeed.exponential, PairShares.counter), (.slow(factor: 3), .own)] {
        var settings = PairExchange.Settings(graph: PairGraph(shape, count: workers))
        (settings.shares, settings.seed) = (shares, 9)
        let found = try train(count, settings, speed)
        let name = "\(shape) \(workers) \(count) \(speed)"
        let start = Self.start(count)
        var reference = ReferencePairs(Array(repeating: (0..<count).map { start[$0] }, count: workers))
        for (segment, distance) in zip(Self.segments, found.distances) {
          reference.begin()
          for event in speed.events(of: segment, over: settings.graph, shares: shares, seed: 9).events {
            reference.apply(event) { values in
              event.minibatch == 5
                ? values.map { _ in 0 } : values.enumerated().map { Self.gradient(event.minibatch, $0, $1) }
            }
          }
          #expect(abs(distance - reference.distance) <= 1e-6 * reference.distance, "\(name): \(distance) \(reference.distance)")
        }
        #expect(found.mean == reference.mean, "\(name)")
        let own = stride(from: world.rank, to: workers, by: world.count).flatMap { reference.models[$0] }
        #expect(found.models == own, "\(name)")
        let alone = try PairExchangeTests(hosts: HostMap(world.split(color: world.rank))).train(count, settings, speed)
        #expect(alone.mean == found.mean && alone.distances == found.distances, "\(name) alone")
      }
    }
    try world.barrier()
  }

  /// Averages alone make the models of a ring of 8 equal, as fast as their matrix says, and keep their mean (experiments §5.1).
  @Test(.enabled(if: [1, 2, 4].contains(World.count), "a ring of 8 workers")) func averagesAloneAgreeOnTheMean() throws {
    let (count, settings) = (2000, PairExchange.Settings(graph: PairGraph(.ring, count: 8)))
    let exchange = try PairExchange(hosts, count: count, settings: settings)
    for worker in exchange.workers {
      for place in 0..<count { worker.model[place] = Self.random.uniform(worker.id * count + place, tensor: 6) }
    }
    let mean = FloatBuffer(count: count)
    let start = (distance: try exchange.meet(into: mean), mean: (0..<count).map { mean[$0] })
    let eigenvalue = settings.graph.meanMixing.secondEigenvalue
    #expect(abs(eigenvalue - (1 - (2 - 2 * 0.70710678) / 16)) < 1e-6)
    func ratio(after minibatches: Range<Int>) throws -> Double {
      let events = EmulatedSpeed.roundRobin.events(of: minibatches, over: settings.graph, shares: .own, seed: settings.seed)
        .events
      try exchange.run(minibatches, order: .listed(events), work: { _, _, _, _, _ in 0 }, update: { _, _, _, _, _ in })
      return try exchange.meet(into: mean) / start.distance
    }
    // Four of eight workers ask in each step.
    let (soon, late) = (try ratio(after: 0..<8 * 10), try ratio(after: 8 * 10..<8 * 50))
    let expected = pow(eigenvalue, 40)
    // That is for the worst start, and workers that ask in turn are faster than those drawn.
    #expect(soon < expected && soon > expected / 100, "\(soon) \(expected)")
    #expect(late < pow(eigenvalue, 200), "\(late)")
    #expect((0..<count).allSatisfy { abs(mean[$0] - start.mean[$0]) < 1e-6 })
  }

  /// Live, every minibatch is done once, all ranks get one mean, and it is moved by the gradients alone: averages keep it.
  @Test func liveWorkersKeepTheMean() throws {
    for (shape, shares) in [(GossipGraph.Shape.complete, PairShares.counter), (.ring, .own)] {
      let count = 700
      var settings = PairExchange.Settings(graph: PairGraph(shape, count: world.count))
      settings.shares = shares
      let exchange = try PairExchange(hosts, count: count, settings: settings)
      let mean = Self.start(count)
      exchange.start(from: mean)
      var done = [Int64](repeating: 0, count: 60)
      for segment in [0..<30, 30..<31, 31..<60] {
        let before = Array(mean.values)
        try exchange.run(segment, order: .live) { _, minibatch, _, gradient, serve in
          for place in 0..<count {
            gradient[place] = Float(minibatch + 1) / 64 + Float(place % 7) / 8
            // Some workers are slow.
            if place % 50 == 0 { serve() }
          }
          done[minibatch] += 1
          return 1
        } update: { _, _, model, gradient, _ in
          for place in 0..<count { model[place] -= gradient[place] }
        }
        let distance = try exchange.meet(into: mean)
        #expect(world.count == 1 ? distance == 0 : distance > 0)
        for place in 0..<count {
          let moved = segment.reduce(0.0) { $0 + Double($1 + 1) / 64 + Double(place % 7) / 8 } / Double(world.count)
          #expect(abs(Double(before[place] - mean[place]) - moved) < 1e-4, "\(shape) \(segment) \(place)")
        }
        let all = try world.allGather(Array(mean.values))
        for rank in 0..<world.count { #expect(Array(all[rank * count..<(rank + 1) * count]) == Array(mean.values)) }
      }
      let all = try world.allGather(done)
      for minibatch in 0..<60 {
        #expect((0..<world.count).reduce(0) { $0 + all[$1 * 60 + minibatch] } == 1, "\(shape) \(minibatch)")
      }
    }
  }

  /// What all workers did since the last meeting, by worker.
  private func steps(of exchange: PairExchange) throws -> [[PairStep]] {
    let all = try exchange.workers.map { worker in
      try world.allGather(
        varying: worker.history.map { step in
          switch step {
          case .answer(let other): Int64(-1 - other)
          case .update(let minibatch): Int64(minibatch)
          }
        })
    }
    return (0..<all.count * world.count).map { worker in
      all[worker / world.count][worker % world.count].map {
        $0 < 0 ? .answer(to: Int(-1 - $0)) : .update(minibatch: Int($0))
      }
    }
  }

  /// Live workers that are slow at random do what their histories say, in an order that can be listed.
  @Test(.ranks(atMost: 4)) func liveRunsCanBeListed() throws {
    let count = 30_000
    let settings = PairExchange.Settings(graph: PairGraph(.complete, count: world.count))
    func run(_ order: PairOrder) throws -> PairExchange {
      let exchange = try PairExchange(hosts, count: count, settings: settings)
      exchange.start(from: Self.start(count))
      try exchange.run(0..<60, order: order) { worker, minibatch, parameters, gradient, serve in
        let sleeps = order == .live ? Int(Self.random.word(minibatch * 17 + worker, tensor: 5) % 4) : 0
        for part in 0...sleeps {
          if part > 0 { usleep(500) }
          serve()
        }
        for place in 0..<count { gradient[place] = Self.gradient(minibatch, place, parameters[place]) }
        return 1
      } update: { _, _, model, gradient, _ in
        for place in 0..<count { model[place] -= gradient[place] }
      }
      return exchange
    }
    let live = try run(.live)
    let steps = try steps(of: live)
    let events = try #require([PairEvent](merging: steps, over: settings.graph, seed: settings.seed))
    let again = try run(.listed(events))
    #expect((0..<count).allSatisfy { again.models[$0] == live.models[$0] })
  }

  /// Where a rank is asked to stop, all end with the step that has begun, live and in a listed order, and have sent what the format says.
  @Test(.ranks(atMost: 4)) func stopsEndTheStep() throws {
    for (isLive, shares) in [(true, PairShares.counter), (true, .own), (false, .counter), (false, .own)] {
      let workers = isLive ? world.count : 12
      var settings = PairExchange.Settings(graph: PairGraph(.ring, count: workers))
      settings.shares = shares
      let exchange = try PairExchange(hosts, count: 5, settings: settings)
      let events = EmulatedSpeed.exponential.events(of: 24..<24 + 50 * workers, over: settings.graph, shares: shares, seed: 1)
        .events
      var done: [Int64] = []
      var isStopRequested = false
      try exchange.run(
        24..<24 + 50 * workers, order: isLive ? .live : .listed(events), isStopRequested: { isStopRequested }
      ) { _, minibatch, _, _, _ in
        done.append(Int64(minibatch))
        if world.rank == world.count - 1 && minibatch >= 24 + 3 * workers { isStopRequested = true }
        // So that the others do not come to their end before they hear of it.
        if isLive { usleep(1000) }
        return 1
      } update: { _, _, model, _, _ in
        model[0] += 1
      }
      let all = try world.allGather(varying: done).joined().sorted().map { Int($0) }
      #expect(all == Array(24..<24 + all.count), "\(isLive) \(shares): \(all)")
      #expect(
        all.count % workers == 0 && all.count >= 4 * workers && all.count < 50 * workers, "\(isLive) \(shares): \(all.count)")
      // Averages keep the sum.
      let mean = FloatBuffer(count: 5)
      _ = try exchange.meet(into: mean)
      #expect(abs(mean[0] - Float(all.count / workers)) < 1e-4)
      let (counted, predicted) = (exchange.traffic, exchange.predictedTraffic(of: try steps(of: exchange)))
      #expect(counted == predicted, "\(isLive) \(shares)")
    }
  }
}

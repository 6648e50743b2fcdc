import Buffers
import Codecs
import Foundation
import MPI
import PointToPoint
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Parameter servers under orders of messages that chance makes: whatever comes when, every minibatch is done once and nobody waits for
/// ever.
@Suite(.serialized) struct RandomScheduleTests {
  private static let layout = TensorLayout([("a", [3, 40]), ("b", [5]), ("c", [1])])

  /// What a schedule is made of.
  private struct Schedule: CustomStringConvertible {
    var rankCount = 1
    var settings = ParameterServer.Settings(workerCount: 2)
    var codec = "none"
    var steps: [Int] = []
    var speed: EmulatedSpeed?
    /// The push, of all, from which on a rank was asked to stop, by segment; nil for none.
    var stops: [Int?] = []

    init(_ random: inout SplitMix) {
      let workers = 2 + random.next(below: 7)
      let counts = (1...workers).filter { workers % $0 == 0 }
      rankCount = counts[random.next(below: counts.count)]
      settings = ParameterServer.Settings(workerCount: workers)
      settings.bound = [nil, 0...0, 1...1, 2...2, 5...5, 0...3][random.next(below: 6)]
      settings.pushesPerUpdate = [1, 1, 2, workers][random.next(below: 4)]
      settings.pullsFloats = random.next(below: 3) == 0
      if random.next(below: 3) == 0 { settings.rule.compensation = DelayCompensation(.adaptive, lambda: 0.5) }
      settings.minibatchesPerPush = [1, 1, 1, 2, 5][random.next(below: 5)]
      switch random.next(below: 8) {
      case 0: settings.method = .elastic(alpha: 0.1)
      case 1: settings.method = .localSteps(OuterStep(rate: 0.7, momentum: 0.5, weight: .stale))
      case 2: (settings.pushesPerPull, settings.rule.compensation) = (3, nil)
      case 3, 4:
        (settings.isPipelined, settings.pushesPerPull, settings.rule.compensation) = (true, 1 + random.next(below: 2), nil)
      default: break
      }
      codec = ["none", "one-bit", "multi-bit:bits=4"][random.next(below: 3)]
      steps = (0..<2).map { _ in random.next(below: 5) }
      if random.next(below: 4) == 0 { speed = [.exponential, .slow(factor: 3), .jitter(extra: 4)][random.next(below: 3)] }
      stops = steps.map { random.next(below: 3) == 0 ? random.next(below: $0 * workers + 1) : nil }
      guard random.next(below: 3) == 0 else { return }
      var shares = (0..<rankCount).map { _ in random.next(below: 3) }
      shares[random.next(below: rankCount)] += 1
      settings.shares = shares
    }

    /// Whether a rank has a shard.
    func owns(_ rank: Int) -> Bool { settings.shares?[rank] != 0 }

    var description: String {
      "\(settings.workerCount) workers on \(rankCount) ranks, shares \(settings.shares ?? []), bound \(settings.bound.map { "\($0)" } ?? "none"), "
        + "softsync \(settings.pushesPerUpdate), push \(settings.minibatchesPerPush), \(settings.method), "
        + "pipeline \(settings.isPipelined), \(codec), steps \(steps), stops \(stops), order \(speed.map { "\($0)" } ?? "live")"
    }
  }

  /// The largest gap of clocks, among the workers that are not done, after each push of a history.
  private func largestGap(_ history: [Int], workerCount: Int) -> Int {
    var (clocks, done, gap) = (Array(repeating: 0, count: workerCount), Set<Int>(), 0)
    for event in history {
      if event >= 0 { clocks[event] += 1 } else { done.insert(-1 - event) }
      let running = clocks.indices.filter { !done.contains($0) }.map { clocks[$0] }
      gap = max(gap, (running.max() ?? 0) - (running.min() ?? 0))
    }
    return gap
  }

  /// The value that the minibatches of a segment add to each number of a shard: of `group` pushes at a time the mean of those that count.
  private func change(_ history: [Int], _ minibatches: [Int: [Int]], group: Int) -> Float {
    var (next, sum, row) = ([Int: Int](), Float(0), [Int]())
    func apply() {
      let counted = row.filter { $0 % 8 != 5 }.map { Float($0 % 8 + 1) }
      if !counted.isEmpty { sum += counted.reduce(0, +) / Float(counted.count) }
      row = []
    }
    for worker in history where worker >= 0 {
      row.append(minibatches[worker]![next[worker, default: 0]])
      next[worker, default: 0] += 1
      if row.count == group { apply() }
    }
    apply()
    return sum
  }

  /// Runs a schedule on all its ranks in this process, and checks its laws.
  private func run(_ schedule: Schedule, random: inout SplitMix) throws {
    let (layout, workers, ranks) = (Self.layout, schedule.settings.workerCount, 0..<schedule.rankCount)
    let network = SimulatedNetwork(rankCount: ranks.count, random: random)
    let models = ranks.map { _ in FloatBuffer(count: layout.count) }
    var applied = ranks.map { _ in 0 }
    let codec = try codecs.make(schedule.codec)
    let servers = try ranks.map { rank in
      try ParameterServer(
        among: ServerRanks(rank: rank, count: ranks.count) { _, _, _ in network.end(of: rank) }, layout: layout,
        parameters: models[rank], codec: codec, settings: schedule.settings
      ) { range, gradient, _, _, samples in
        for i in range { models[rank][i] += gradient[i - range.lowerBound] }
        applied[rank] += samples
      }
    }
    var (first, samples) = (0, 0)
    var expected = ranks.map { _ in Float(0) }
    for (steps, stop) in zip(schedule.steps, schedule.stops) {
      let segment = first..<first + steps * workers
      let order = schedule.speed.map {
        ServiceOrder.listed($0.course(of: segment, schedule.settings).order)
      }
      var done: [Int] = []
      var minibatches: [Int: [Int]] = [:]
      for server in servers {
        try server.begin(segment, usesFloats: random.next(below: 4) == 0 && ranks.count == 1, order: order ?? .live) {
          stop.map { done.count >= $0 } ?? false
        }
      }
      var (running, idleTurns) = (Array(ranks), 0)
      var lonelyTurns = ranks.map { _ in 0 }
      while !running.isEmpty {
        let rank = running[random.next(below: running.count)]
        let turn = try servers[rank].turn { worker, minibatch, _, gradient, serve in
          if random.next(below: 2) == 0 { serve() }
          gradient.fill(Float(minibatch % 8 + 1))
          done.append(minibatch)
          minibatches[worker, default: []].append(minibatch)
          // One minibatch in eight does not count.
          return minibatch % 8 == 5 ? 0 : minibatch + 1
        }
        idleTurns = turn == .idle ? idleTurns + 1 : 0
        // What a rank tells itself may wait for its next turn.
        let isLonely = turn == .idle && !servers[rank].isMeeting && ranks.count > 1 && servers[rank].awaitedRanks.isEmpty
        lonelyTurns[rank] = isLonely ? lonelyTurns[rank] + 1 : 0
        if lonelyTurns[rank] > 1 {
          Issue.record("rank \(rank) waits for no other: \(schedule)")
          return
        }
        // A message that can arrive does so in one of three turns of its rank.
        guard idleTurns < 300 * ranks.count else {
          Issue.record("nobody goes on: \(schedule)")
          return
        }
        if turn == .done { running.removeAll { $0 == rank } }
      }
      let end = first + done.count
      #expect(done.sorted() == Array(first..<end), "\(schedule)")
      #expect(end == segment.upperBound || stop != nil && done.count % workers == 0, "\(schedule)")
      // The step that was begun when the news came, and one that is begun while it travels.
      let ahead = (schedule.settings.isPipelined ? 5 : 3) * workers * schedule.settings.minibatchesPerPush
      if let stop { #expect(done.count <= stop + ahead, "\(schedule): \(done.count)") }
      samples += done.reduce(0) { $0 + ($1 % 8 == 5 ? 0 : $1 + 1) }
      for (rank, server) in servers.enumerated() {
        let pushes = schedule.settings.pushCount(of: segment, upTo: end)
        #expect(server.minibatchCounts.reduce(0, +) == done.count, "\(schedule)")
        #expect(firstDifference(models[rank].array, models[0].array) == nil, "\(schedule)")
        guard schedule.owns(rank) else {
          #expect(server.history.isEmpty && applied[rank] == 0 && server.ownElements.isEmpty, "\(schedule)")
          continue
        }
        #expect(server.history.count { $0 >= 0 } == pushes && server.history.count { $0 < 0 } == workers, "\(schedule)")
        if schedule.settings.method == .gradients { #expect(applied[rank] == samples, "\(schedule)") }
        if let bound = schedule.settings.bound {
          #expect(largestGap(server.history, workerCount: workers) <= bound.upperBound + 1, "\(schedule)")
        }
        expected[rank] += change(server.history, minibatches, group: schedule.settings.pushesPerUpdate)
        if schedule.codec == "none", schedule.settings.rule.compensation == nil, schedule.settings.method == .gradients,
          schedule.settings.minibatchesPerPush == 1
        {
          let found = models[rank].array[server.ownElements]
          #expect(found.allSatisfy { abs($0 - expected[rank]) < 1e-4 * expected[rank] + 1e-5 }, "\(schedule)")
        }
        if let speed = schedule.speed, done.count == segment.count {
          #expect(order == .listed(server.history), "\(schedule) \(speed)")
        }
      }
      first = end
    }
  }

  @Test(.oneProcess) func aThousandSchedulesEnd() throws {
    for number in 0..<1000 {
      var random = SplitMix(number)
      let schedule = Schedule(&random)
      try run(schedule, random: &random)
    }
  }

  /// What is applied when a stop is requested follows from where the counter ends, and not from the network.
  @Test(.oneProcess) func stoppedListedOrdersAreThoseOfTheirMinibatches() throws {
    var histories: Set<[Int]> = []
    for number in 0..<40 {
      var random = SplitMix(number, 2)
      var settings = ParameterServer.Settings(workerCount: 4)
      settings.bound = 1...1
      let network = SimulatedNetwork(rankCount: 2, random: random)
      let models = (0..<2).map { _ in FloatBuffer(count: 9) }
      let servers = try (0..<2).map { rank in
        try ParameterServer(
          among: ServerRanks(rank: rank, count: 2) { _, _, _ in network.end(of: rank) }, layout: TensorLayout([("w", [9])]),
          parameters: models[rank], codec: Identity(), settings: settings
        ) { range, gradient, _, _, _ in
          for i in range { models[rank][i] -= 0.1 * gradient[i - range.lowerBound] }
        }
      }
      for server in servers {
        let course = EmulatedSpeed.slow(factor: 3).course(of: 0..<40, settings)
        // Of worker 0, whose pushes come in the listed order, the third one says it.
        try server.begin(0..<40, usesFloats: true, order: .listed(course.order)) {
          server === servers[0] && servers[0].history.count { $0 == 0 } >= 2
        }
      }
      var running = [0, 1]
      while !running.isEmpty {
        let rank = running[random.next(below: running.count)]
        let turn = try servers[rank].turn { _, minibatch, parameters, gradient, _ in
          for i in 0..<9 { gradient[i] = parameters[i] - Float(minibatch) }
          return 1
        }
        if turn == .done { running.removeAll { $0 == rank } }
      }
      #expect(servers[0].history == servers[1].history)
      #expect(models[0].array == models[1].array)
      histories.insert(servers[0].history)
    }
    #expect(histories.count >= 1 && histories.allSatisfy { $0.count { $0 >= 0 } % 4 == 0 })
  }

  /// The same between ranks that sleep now and then.
  @Test(.ranks(atMost: 4)) func ranksThatSleepAtRandomEnd() throws {
    let hosts = try HostMap(allRanks)
    for (number, codec) in ["none", "one-bit", "one-bit", "multi-bit:bits=4"].enumerated() {
      var random = SplitMix(number)
      var settings = ParameterServer.Settings(workerCount: allRanks.count)
      (settings.bound, settings.pushesPerUpdate) = ([nil, 0...0, 1...1, 2...2][number], 1 + random.next(below: 3))
      let model = FloatBuffer(count: Self.layout.count)
      var applied = 0
      let server = try ParameterServer(
        hosts, layout: Self.layout, parameters: model, codec: try codecs.make(codec), settings: settings
      ) { range, gradient, _, _, samples in
        for i in range { model[i] += gradient[i - range.lowerBound] }
        applied += samples
      }
      var sleeper = SplitMix(number, allRanks.rank)
      let segment = 0..<16 * allRanks.count
      var own: [Int] = []
      // The second half of the runs is asked to stop by the last rank's fourth push.
      let done = try server.run(
        segment, usesFloats: false, order: .live,
        isStopRequested: { number >= 2 && allRanks.rank == allRanks.count - 1 && own.count >= 4 }
      ) { _, minibatch, _, gradient, serve in
        sleepAtRandom(&sleeper, upTo: 1500)
        serve()
        gradient.fill(1)
        own.append(minibatch)
        return 1
      }
      #expect(done == segment.count || number >= 2 && done % allRanks.count == 0, "\(codec): \(done)")
      if number >= 2 && allRanks.count == 1 { #expect(done == 4) }
      let isSame = try isSameOnAllRanks(model.array)
      #expect(isSame && applied == done)
      let counts = (0..<done).map { minibatch in own.count { $0 == minibatch } }
      #expect(try gatherAll(counts.map(Float.init)).reduce(0) { $0 + $1.reduce(0, +) } == Float(done))
      if let bound = settings.bound { #expect(largestGap(server.history, workerCount: allRanks.count) <= bound.upperBound + 1) }
    }
  }
}

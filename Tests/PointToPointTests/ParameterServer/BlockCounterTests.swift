import PointToPoint
import Testing
import _TestSupport

/// Who gets which block of minibatches.
struct BlockCounterTests {
  /// What workers did that take these times for a block: their pushes in order, and when the last was done.
  private struct Course: Equatable {
    var order: [Int] = []
    var blocks: [Range<Int>] = []
    var end = 0.0
    var counts: [Int] = []
  }

  /// Workers ask as they become free; one without a block is done.
  private func run(
    _ counter: inout BlockCounter, _ minibatches: Range<Int>, _ seconds: [Double], order: ServiceOrder = .live
  ) -> Course {
    counter.begin(minibatches, order: order)
    var course = Course(counts: seconds.map { _ in 0 })
    var held = seconds.indices.map { counter.first(of: $0) }
    var due = seconds.indices.map { held[$0].isEmpty ? nil : seconds[$0] }
    var listed: [Int]?
    if case .listed(let events) = order { listed = events.filter { $0 >= 0 } }
    while let worker = listed.map(\.first) ?? due.indices.filter({ due[$0] != nil }).min(by: { due[$0]! < due[$1]! }),
      let time = due[worker]
    {
      listed?.removeFirst()
      course.order.append(worker)
      course.blocks.append(held[worker].removeFirst())
      course.counts[worker] += 1
      course.end = max(course.end, time)
      counter.note(pushOf: worker)
      if let block = counter.next(for: worker) { held[worker].append(block) }
      due[worker] = held[worker].isEmpty ? nil : time + seconds[worker]
    }
    #expect(course.blocks.sorted { $0.lowerBound < $1.lowerBound }.flatMap(Array.init) == Array(minibatches))
    return course
  }

  private func settings(_ workers: Int, _ change: (inout ParameterServer.Settings) -> Void = { _ in })
    -> ParameterServer.Settings
  {
    var settings = ParameterServer.Settings(workerCount: workers)
    change(&settings)
    return settings
  }

  /// A worker that is slow does not hold up the meeting: all end within one and a half blocks of when they could at the best.
  @Test func aSlowWorkerDoesNotHoldUpTheMeeting() {
    for factor in [1.5, 2, 4, 10, 40] {
      for count in [8, 9, 15, 16, 80, 160, 161] {
        let seconds = (0..<8).map { $0 == 7 ? factor : 1 + 0.01 * Double($0) }
        var counter = BlockCounter(settings(8))
        var (first, last) = (0, Course())
        // From the second segment on the speeds are known.
        for _ in 0..<4 {
          last = run(&counter, first..<first + count, seconds)
          first += count
        }
        // Everyone begins with a block.
        let best = max(factor, Double(count) / seconds.reduce(0) { $0 + 1 / $1 })
        #expect(last.end <= best + 1.5, "\(factor) \(count): \(last.end) of \(best)")
        // And it is not left idle before.
        #expect(count < 80 || last.counts[7] >= Int((best - 1.1) / factor), "\(factor) \(count): \(last.counts)")
      }
    }
  }

  /// Workers of equal speed do as much as without the rule, and no later than a block after that; one worker does all.
  @Test func equalWorkersDoTheirShares() {
    for workers in [1, 2, 3, 8] {
      for count in [0, 1, workers, 3 * workers + 1, 20 * workers] {
        var counter = BlockCounter(settings(workers))
        for segment in 0..<3 {
          let course = run(&counter, segment * count..<(segment + 1) * count, (0..<workers).map { 1 + 0.001 * Double($0) })
          #expect(course.counts.max()! - course.counts.min()! <= 1, "\(workers) \(count): \(course.counts)")
        }
      }
    }
  }

  /// A bound lets nobody leave the slowest behind, and then blocks are handed out to whoever asks.
  @Test func aBoundLeavesNobodyBehind() {
    for bound in [0...0, 3...3, 1...4] {
      var counter = BlockCounter(settings(4) { $0.bound = bound })
      var last = 0
      for segment in 0..<3 { last = run(&counter, segment * 23..<(segment + 1) * 23, [1, 1, 1, 4]).counts[3] }
      #expect(last == 2, "\(last)")
    }
  }

  /// What was done live is done again in its order, with the same blocks, by a counter that knows nothing of speeds.
  @Test func listedOrdersGetTheirBlocks() {
    for (isPipelined, speeds) in pairs([false, true], [[1, 1.3, 0.7, 9], [1, 2, 3, 4], [1, 1, 1, 1.5], [1, 30, 20, 30]]) {
      for push in [1, 2, 3] {
        let settings = settings(4) { ($0.isPipelined, $0.minibatchesPerPush) = (isPipelined, push) }
        var live = BlockCounter(settings)
        for segment in 0..<3 {
          let minibatches = segment * 50..<(segment + 1) * 50
          let course = run(&live, minibatches, speeds)
          var fresh = BlockCounter(settings)
          let again = run(&fresh, minibatches, [1, 1, 1, 1], order: .listed(course.order + [-1, -2, -3, -4]))
          #expect(again.order == course.order && again.blocks == course.blocks, "\(isPipelined) \(speeds) \(push)")
        }
      }
    }
  }
}

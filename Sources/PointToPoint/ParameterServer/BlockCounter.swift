/// The blocks of minibatches between two meetings, and who computes them; the first owner counts.
///
/// A worker that has pushed a block gets the next one, so that a fast worker does more of them. A slow one gets none any more if the others
/// will have done all that is left before it has done one, by the pushes so far: no worker waits for it at the meeting. That is for workers
/// without a bound, which does not let them leave one behind. Time is counted in pushes; in a listed order a worker gets as many blocks as
/// it pushes there.
/// Source: algorithms §7.0; the rule about the last blocks is that of greedy list scheduling on machines of unequal speed.
package struct BlockCounter {
  private let settings: ParameterServer.Settings
  /// The blocks of the segment, and the next to hand out.
  private var blocks: [Range<Int>] = []
  private var next = 0
  /// By worker, the blocks that it got in this segment and those that it has pushed.
  private var handedOut: [Int]
  private var pushed: [Int]
  /// By worker, whether it gets no further block in this segment.
  private var isLeftOut: [Bool]
  /// By worker, the pushes of a listed order; nil if there is none.
  private var listed: [Int]?
  /// The pushes of the segment, and how many there were at each worker's last one.
  private var time = 0
  private var lastTimes: [Int]
  /// By worker, the pushes of all from one of its own to the next, smoothed over the run; nil before its first.
  private var intervals: [Double?]

  /// How much the last interval counts in the smoothed one.
  private static let gain = 0.25

  /// A counter for these workers.
  package init(_ settings: ParameterServer.Settings) {
    let none = Array(repeating: 0, count: settings.workerCount)
    (self.settings, handedOut, pushed, lastTimes) = (settings, none, none, none)
    (intervals, isLeftOut) = (none.map { _ in nil }, none.map { _ in false })
  }

  /// The blocks with which a worker begins: a pipelined one has its next before it pushes one.
  private var blocksAhead: Int { settings.isPipelined ? 2 : 1 }

  /// Begins a segment of `minibatches`, the first of those `planned` up to the next meeting if the run that is repeated was stopped.
  package mutating func begin(_ minibatches: Range<Int>, of planned: Range<Int>? = nil, order: ServiceOrder) {
    let count = settings.workerCount
    blocks = settings.blocks(of: planned ?? minibatches, upTo: minibatches.upperBound)
    next = min(blocksAhead * count, blocks.count)
    handedOut = (0..<count).map { first(of: $0).count }
    (pushed, lastTimes, time) = (handedOut.map { _ in 0 }, handedOut.map { _ in 0 }, 0)
    (listed, isLeftOut) = (nil, isLeftOut.map { _ in false })
    if case .listed(let events) = order {
      listed = events.reduce(into: pushed) { if $1 >= 0 { $0[$1] += 1 } }
    }
  }

  /// The blocks with which a worker begins a segment.
  package func first(of worker: Int) -> [Range<Int>] {
    (0..<blocksAhead).map { $0 * settings.workerCount + worker }.filter { $0 < blocks.count }.map { blocks[$0] }
  }

  /// Notes that a block of a worker has been pushed.
  package mutating func note(pushOf worker: Int) {
    time += 1
    // All begin at the same time, so that their first pushes say little.
    if pushed[worker] > 0 {
      let interval = Double(time - lastTimes[worker])
      intervals[worker] = intervals[worker].map { $0 + BlockCounter.gain * (interval - $0) } ?? interval
    } else if intervals[worker] == nil {
      intervals[worker] = Double(time)
    }
    pushed[worker] += 1
    lastTimes[worker] = time
  }

  /// Hands out the next block to a worker that asks; nil if it gets none any more.
  package mutating func next(for worker: Int) -> Range<Int>? {
    guard next < blocks.count else { return nil }
    // For good, so that a listed order says which answers had a block.
    isLeftOut[worker] = isLeftOut[worker] || !isWorthwhile(for: worker)
    guard !isLeftOut[worker] else { return nil }
    next += 1
    handedOut[worker] += 1
    return blocks[next - 1]
  }

  /// Whether a worker is to have one more block.
  private func isWorthwhile(for worker: Int) -> Bool {
    if let listed { return handedOut[worker] < listed[worker] }
    guard settings.bound == nil, let interval = intervals[worker] else { return true }
    let underWay = zip(handedOut, pushed).map { $0 - $1 }
    let ofOthers = underWay.reduce(0, +) - underWay[worker]
    // One of the others at least must ask again, so that no block is left over.
    let askAgain = underWay.indices.contains { $0 != worker && underWay[$0] > 0 && !isLeftOut[$0] }
    return !askAgain || interval * Double(underWay[worker] + 1) <= Double(blocks.count - next + ofOthers)
  }

  /// Ends the segment with the step of which a minibatch was handed out.
  package mutating func endWithStep() {
    guard next > 0 else { return }
    let (first, count) = (blocks[0].lowerBound, settings.workerCount)
    let end = first + (blocks[next - 1].upperBound - first + count - 1) / count * count
    blocks = blocks.map { $0.clamped(to: first..<max(first, end)) }.filter { !$0.isEmpty }
  }
}

internal import Buffers
internal import Synchronization
internal import Transport

/// A unit of work of an exchange, done once what it waits for is there.
struct Stage {
  /// The kind of event it counts as.
  let kind: ExchangeEvent.Kind
  /// What is being waited for, for the error message that names a missing rank.
  let activity: String
  /// Whether it can be done; polls once.
  let isReady: () throws -> Bool
  /// The ranks it waits for; empty if it waits for no other rank.
  let awaited: () -> [Int]
  /// The work.
  let work: () throws -> Void

  init(
    _ kind: ExchangeEvent.Kind, awaits activity: String = "", isReady: @escaping () throws -> Bool = { true },
    awaited: @escaping () -> [Int] = { [] }, work: @escaping () throws -> Void
  ) {
    (self.kind, self.activity, self.isReady, self.awaited, self.work) = (kind, activity, isReady, awaited, work)
  }

  /// Processes the records of all ranks, after this rank has sent its own.
  static func records(
    _ records: RecordExchange, _ kind: ExchangeEvent.Kind, activity: String, work: @escaping ([[UInt64]]) throws -> Void
  ) -> Stage {
    var all: [[UInt64]] = []
    return Stage(
      kind, awaits: activity,
      isReady: {
        guard let found = try records.look(activity: activity) else { return false }
        all = found
        return true
      }, awaited: { records.awaitedRanks }
    ) { try work(all) }
  }
}

/// Carries on an exchange that is a sequence of stages: encoding, rounds of messages, the delivery.
///
/// Stages are done in order, each once what it waits for is there, so that no bit depends on timing. A stage may insert others
/// before those that follow (``next(_:)``), when the next work depends on its results.
final class StagedExchange {
  private let hosts: HostMap
  /// The values of a contribution.
  private let count: Int
  private let clock: ExchangeClock
  /// What is still to be done, the next one last.
  private var stages: [Stage] = []
  private let announced = Atomic<Int>(0)
  /// Where the result goes, once it is wanted.
  private(set) var sink: Sink?
  /// Whether an exchange is under way.
  private(set) var isActive = false
  private(set) var exchangeCount = 0

  init(_ hosts: HostMap, count: Int, observer: ((ExchangeEvent) -> Void)?) {
    (self.hosts, self.count, clock) = (hosts, count, ExchangeClock(hosts, observer: observer))
  }

  var timing: ExchangeTiming { clock.timing }

  /// Begins an exchange that is done by these stages.
  func begin(_ contribution: Contribution, _ stages: [Stage]) {
    require(!isActive, "an exchange began while another was under way")
    isActive = true
    sink = nil
    announced.store(contribution.isReady ? count : 0, ordering: .releasing)
    self.stages = stages.reversed()
    clock.begin()
  }

  /// Inserts stages before those that follow.
  func next(_ stages: [Stage]) { self.stages += stages.reversed() }

  /// Gives up the exchange under way.
  func abandon() {
    isActive = false
    stages = []
  }

  func markReady(upTo end: Int) { announced.store(end, ordering: .releasing) }

  /// Whether the whole contribution is final.
  var isContributionReady: Bool { announced.load(ordering: .acquiring) == count }

  /// A stage that waits until the delivery is requested, and works on its sink.
  func delivery(_ work: @escaping (Sink) throws -> Void) -> Stage {
    Stage(.decode, isReady: { [unowned self] in sink != nil }) { [unowned self] in try sink.map(work) }
  }

  /// The stages of a single rank, whose gradient is the sum; `prepare` adds what is left of exchanges before.
  func passing(_ gradient: FloatBuffer, _ prepare: @escaping () -> Void) -> [Stage] {
    [
      delivery { sink in
        prepare()
        sink.take(gradient.baseAddress, in: 0..<gradient.count)
      }
    ]
  }

  func advance(abandon: () -> Void) throws -> ExchangeTurn {
    guard isActive else { return .done }
    do {
      let start = ContinuousClock.now
      guard let stage = stages.last else {
        isActive = false
        exchangeCount += 1
        clock.endWait(at: start)
        return .done
      }
      guard try stage.isReady() else {
        try wait(for: stage, since: start)
        return .idle
      }
      stages.removeLast()
      try stage.work()
      clock.note(stage.kind, 0..<count, since: start)
      return .busy
    } catch {
      abandon()
      throw error
    }
  }

  /// Carries the exchange to its end, with the result going to `sink`.
  func deliver(into sink: Sink, advance: () throws -> ExchangeTurn) throws {
    require(isActive, "a delivery without an exchange")
    markReady(upTo: count)
    self.sink = sink
    defer { self.sink = nil }
    try clock.finish(advance)
  }

  private func wait(for stage: Stage, since start: ContinuousClock.Instant) throws {
    try clock.wait(since: start, isWanted: sink != nil, isForOthers: !stage.awaited().isEmpty) { seconds in
      ExchangeError.timedOut(activity: stage.activity, awaited: stage.awaited().map(hosts.name), seconds: seconds)
    }
  }
}

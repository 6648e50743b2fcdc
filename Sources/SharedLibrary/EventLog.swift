public import CMorse
internal import Collectives
internal import Synchronization

/// What the exchanges of a stream have done, and when, until it is asked for.
final class EventLog: Sendable {
  /// The most events that are kept.
  static let capacity = 1 << 20
  /// The moment from which seconds count.
  static let origin = ContinuousClock.now

  private let events = Mutex<[morse_event]>([])

  static func seconds(_ instant: ContinuousClock.Instant) -> Double { (instant - origin) / .seconds(1) }

  /// Keeps an event, if there is room.
  func add(_ event: ExchangeEvent) {
    let kind =
      switch event.kind {
      case .encode: MORSE_EVENT_ENCODE
      case .send: MORSE_EVENT_SEND
      case .sum: MORSE_EVENT_SUM
      case .decode: MORSE_EVENT_DECODE
      case .deliver: MORSE_EVENT_DELIVER
      case .wait: MORSE_EVENT_WAIT
      }
    let kept = morse_event(
      kind: Int32(kind), receiver: Int32(event.receiver ?? -1), offset: Int64(event.elements.lowerBound),
      count: Int64(event.elements.count), bytes: Int64(event.byteCount), start: Self.seconds(event.start),
      end: Self.seconds(event.end))
    events.withLock { if $0.count < Self.capacity { $0.append(kept) } }
  }

  /// Takes the oldest events away, at most `count`.
  func take(_ count: Int) -> [morse_event] {
    events.withLock { events in
      let taken = Array(events.prefix(count))
      events.removeFirst(taken.count)
      return taken
    }
  }
}

@c @implementation public func morse_clock() -> Double { EventLog.seconds(.now) }

@c @implementation public func morse_stream_events(
  _ stream: OpaquePointer!, _ events: UnsafeMutablePointer<morse_event>!, _ capacity: Int64
) -> Int64 {
  let count = found {
    guard let log = try SharedLibrary.stream(stream).options.events else {
      throw Failure.usage("this stream records no events: set records_events in its morse_options")
    }
    guard let events else { throw Failure.usage("there is no place for the events: the pointer is null") }
    let taken = log.take(Int(max(0, min(capacity, Int64(EventLog.capacity)))))
    for (place, event) in taken.enumerated() { events[place] = event }
    return taken.count
  }
  return Int64(count ?? -1)
}

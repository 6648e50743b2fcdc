internal import Buffers
internal import MPI
public import Transport

/// How an exchange is carried on while the model computes.
public enum Overlap: String, CaseIterable, Codable, Sendable {
  /// Like `off` within one host, where nothing is gained; otherwise a thread if the host has a spare core, and the caller
  /// between layers if not.
  case auto
  /// A dedicated thread.
  case thread
  /// The caller, between layers.
  case inline
  /// Not at all: the exchange begins when the gradient is complete, and the caller waits for it.
  case off

  /// What `auto` means for ranks that exchange gradients; whether it is `off` is the same on all ranks.
  ///
  /// - Parameters:
  ///   - hosts: The ranks that exchange.
  ///   - all: All ranks that share the hosts, if a model is split over several.
  ///   - threads: The number of threads with which each of them computes.
  public func resolved(for hosts: HostMap, among all: HostMap, threads: Int) -> Overlap {
    guard hosts.world.count > 1 else { return .off }
    guard self == .auto else { return self }
    if hosts.remoteRanks.isEmpty { return .off }
    let busyCores = (all.host?.count ?? 1) * threads
    // A rank bound to its own cores (`mpirun --bind-to core`) cannot use those of the others.
    let hasSpareCore = HostResources.usableCoreCount > threads && HostResources.grantedCoreCount > busyCores
    return hasSpareCore ? .thread : .inline
  }
}

/// Carries an exchange on while its caller computes, from a thread or between layers, and hands it back for the delivery.
///
/// Only one thread at a time touches the exchange: ``drive(_:)`` gives it away; ``deliver(_:into:)`` and ``discard(_:)`` take
/// it back and drive it to its end themselves, which is faster than waiting for another thread. With a thread, MPI must have
/// been started at `ThreadLevel.multiple` if the caller uses it meanwhile.
public final class ExchangeDriver {
  /// How exchanges are driven: `thread`, `inline` or `off`.
  public let overlap: Overlap
  private let worker: Worker?
  /// The exchange under way.
  private var exchange: (any Aggregation)?
  private var failure: (any Error)?

  /// Creates a driver; with `thread` its thread sleeps until there is something to drive, and if the system allows no more threads
  /// the driver is `inline`.
  public init(_ overlap: Overlap) {
    require(overlap != .auto, "an overlap is resolved before a driver is made")
    worker = overlap == .thread ? Worker.started() : nil
    self.overlap = overlap == .thread && worker == nil ? .inline : overlap
  }

  deinit { worker?.end() }

  /// Starts driving `exchange`, which must have begun.
  public func drive(_ exchange: any Aggregation) {
    require(self.exchange == nil, "a driver drives one exchange at a time")
    self.exchange = exchange
    worker?.drive(exchange)
    turn()
  }

  /// The callback for a network to call between layers; nil if there is nothing to do there.
  public var betweenLayers: (() -> Void)? { overlap == .inline ? { [unowned self] in turn() } : nil }

  /// If the caller drives the exchange, advances it as far as possible without waiting; errors are thrown at the end.
  public func turn() {
    guard overlap == .inline, let exchange, failure == nil else { return }
    do { while try exchange.advance() == .busy {} } catch { failure = error }
  }

  /// Takes the exchange back and delivers it; see `Aggregation.deliver(into:)`.
  public func deliver(_ exchange: any Aggregation, into destination: Sink) throws {
    try takeBack(exchange)
    try exchange.deliver(into: destination)
  }

  /// Takes the exchange back and discards it; see `Aggregation.discard()`.
  public func discard(_ exchange: any Aggregation) throws {
    try takeBack(exchange)
    try exchange.discard()
  }

  /// Gives up the exchange under way, when the run ends with an error.
  public func abandon() {
    guard let exchange else { return }
    try? takeBack(exchange)
    exchange.abandon()
  }

  private func takeBack(_ exchange: any Aggregation) throws {
    require(self.exchange === exchange, "the exchange is not the one that is driven")
    self.exchange = nil
    let failure = worker?.takeBack() ?? failure
    self.failure = nil
    if let failure { throw failure }
  }
}

/// A thread that drives the exchanges given to it.
private final class Worker: @unchecked Sendable {
  private let condition = Condition()
  // Guarded by the condition.
  private var exchange: (any Aggregation)?
  private var isTakenBack = false
  private var hasEnded = false
  private var failure: (any Error)?

  /// A worker whose thread runs; nil if the system allows no more threads.
  static func started() -> Worker? {
    let worker = Worker()
    return BackgroundThread.start { worker.run() } ? worker : nil
  }

  func drive(_ exchange: any Aggregation) {
    condition.lock()
    self.exchange = exchange
    isTakenBack = false
    condition.broadcast()
    condition.unlock()
  }

  /// Stops driving; returns any error since the start.
  func takeBack() -> (any Error)? {
    condition.lock()
    defer { condition.unlock() }
    isTakenBack = true
    // After an error the thread sleeps until it is signalled.
    condition.broadcast()
    while exchange != nil { condition.wait() }
    defer { failure = nil }
    return failure
  }

  func end() {
    condition.lock()
    hasEnded = true
    condition.broadcast()
    condition.unlock()
  }

  private func run() {
    condition.lock()
    defer { condition.unlock() }
    while !hasEnded {
      guard let exchange, !isTakenBack, failure == nil else {
        if isTakenBack && exchange != nil {
          exchange = nil
          condition.broadcast()
        }
        condition.wait()
        continue
      }
      condition.unlock()
      let (progress, error) = advance(exchange)
      if progress != .busy { BackOff.background.giveWay(after: .zero) }
      condition.lock()
      if let error { failure = error }
    }
  }

  private func advance(_ exchange: any Aggregation) -> (ExchangeTurn, (any Error)?) {
    do { return (try exchange.advance(), nil) } catch { return (.idle, error) }
  }
}

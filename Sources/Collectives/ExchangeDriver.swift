internal import Buffers
internal import Foundation
internal import MPI
public import Transport

#if canImport(Glibc)
  internal import Glibc
#endif

/// Who carries an exchange on while the model computes.
public enum Overlap: String, CaseIterable, Codable, Sendable {
  /// Nobody inside one host, where nothing is gained; otherwise a thread where the host has a core to spare, and the caller
  /// between layers where it has none.
  case auto
  /// A thread of its own.
  case thread
  /// The caller, between layers.
  case inline
  /// Nobody: the exchange begins when the gradient is complete, and the caller waits for it.
  case off

  /// What `auto` means for ranks that exchange gradients; `off` or not the same on all ranks.
  ///
  /// - Parameters:
  ///   - hosts: The ranks that exchange.
  ///   - all: All ranks that share the hosts, where a model is split over several.
  ///   - threads: With how many threads each of them computes.
  public func resolved(for hosts: HostMap, among all: HostMap, threads: Int) -> Overlap {
    guard hosts.world.count > 1 else { return .off }
    guard self == .auto else { return self }
    if hosts.remoteRanks.isEmpty { return .off }
    let busyCores = (all.host?.count ?? 1) * threads
    // A rank that is bound to its own cores (`mpirun --bind-to core`) has nothing of the others.
    let hasSpareCore = usableCoreCount > threads && ProcessInfo.processInfo.activeProcessorCount > busyCores
    return hasSpareCore ? .thread : .inline
  }

  /// The number of cores on which the system lets this process run.
  private var usableCoreCount: Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    // Hexadecimal digits, and commas between words.
    let mask = status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed:") }?.dropFirst("Cpus_allowed:".count) ?? ""
    return mask.reduce(0) { $0 + ($1.hexDigitValue ?? 0).nonzeroBitCount }
  }
}

/// Carries an exchange on while its caller computes, by a thread or between layers, and hands it back for the delivery.
///
/// One thread at a time touches the exchange: ``drive(_:)`` gives it away, ``deliver(_:into:)`` and ``discard(_:)`` take it back
/// and drive it to its end themselves, which is faster than to wait for another thread. With a thread, MPI must have been
/// started at `ThreadLevel.multiple` if the caller uses it meanwhile.
public final class ExchangeDriver {
  /// How exchanges are driven: `thread`, `inline` or `off`.
  public let overlap: Overlap
  private let worker: Worker?
  /// The exchange under way.
  private var exchange: (any Aggregation)?
  private var failure: (any Error)?

  /// A driver; with `thread` its thread sleeps until there is something to drive.
  public init(_ overlap: Overlap) {
    require(overlap != .auto, "an overlap is resolved before a driver is made")
    self.overlap = overlap
    worker = overlap == .thread ? Worker() : nil
    worker?.start()
  }

  deinit { worker?.end() }

  /// Carries `exchange`, which has begun, on from now on.
  public func drive(_ exchange: any Aggregation) {
    require(self.exchange == nil, "a driver drives one exchange at a time")
    self.exchange = exchange
    worker?.drive(exchange)
    turn()
  }

  /// What a network calls between layers; nil where nothing is to be done there.
  public var betweenLayers: (() -> Void)? { overlap == .inline ? { [unowned self] in turn() } : nil }

  /// Carries the exchange on as far as it goes without waiting, where the caller drives it; errors are thrown at the end.
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

  /// Gives up what is under way, where the run ends by an error.
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

/// A thread that drives exchanges which are given to it.
private final class Worker: @unchecked Sendable {
  /// How long it sleeps when there is nothing to do; a thread that polled would take the core from the computation.
  private static let nap: UInt32 = 100

  private let condition = NSCondition()
  // Guarded by the condition.
  private var exchange: (any Aggregation)?
  private var isTakenBack = false
  private var hasEnded = false
  private var failure: (any Error)?

  func start() { Thread.detachNewThread { [self] in run() } }

  func drive(_ exchange: any Aggregation) {
    condition.lock()
    self.exchange = exchange
    isTakenBack = false
    condition.broadcast()
    condition.unlock()
  }

  /// Stops driving; returns what went wrong meanwhile.
  func takeBack() -> (any Error)? {
    condition.lock()
    defer { condition.unlock() }
    isTakenBack = true
    // After an error it sleeps until it is asked.
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
      if progress != .busy { usleep(Worker.nap) }
      condition.lock()
      if let error { failure = error }
    }
  }

  private func advance(_ exchange: any Aggregation) -> (ExchangeTurn, (any Error)?) {
    do { return (try exchange.advance(), nil) } catch { return (.idle, error) }
  }
}

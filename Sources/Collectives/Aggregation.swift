public import Buffers
public import Codecs
public import Transport

/// What the ranks make of their contributions: one stream of exchanges, one under way at a time.
///
/// An exchange begins with ``begin(_:)``; ``markReady(upTo:)`` says how much of the contribution is final; ``advance()`` carries it on, one
/// unit of work at a time (``ExchangeDriver`` calls it, by a thread or between layers); ``deliver(into:)`` waits for the result, or
/// ``discard()`` drops it. Nothing reaches the sink before that, so that no parameter changes under a backward pass.
///
/// Every function but ``markReady(upTo:)`` and ``abandon()`` is collective. Any thread may call them, one at a time.
public protocol Aggregation: Stateful {
  /// The full specification.
  var specification: String { get }
  /// What is delivered.
  var result: AggregationResult { get }

  /// Starts an exchange, which ``advance()`` carries on.
  ///
  /// - Throws: `ExchangeError` if a rank is missing; nothing can be exchanged after that.
  func begin(_ contribution: Contribution) throws
  /// Says that the values before `end` of the contribution are final; any thread may say so, and ends only grow.
  func markReady(upTo end: Int)
  /// Does one unit of work, if there is one.
  ///
  /// - Throws: `ExchangeError` if a rank is missing or out of step; the exchange is given up then.
  func advance() throws -> ExchangeTurn
  /// Waits for the result and hands it to `sink`; then the contribution may be written again.
  ///
  /// The whole contribution is ready.
  func deliver(into sink: Sink) throws
  /// Ends an exchange of which nothing is wanted, as if it had never been; then the contribution may be written again.
  ///
  /// All ranks discard it. Only possible if the registry's entry says so (``AggregationCapabilities/discards``).
  func discard() throws
  /// Gives up an exchange that cannot end, so that MPI can be left in order.
  func abandon()

  /// Puts what was loaded from a checkpoint where it is needed, if other ranks had saved it.
  func place() throws
  /// Forgets what past contributions left behind; no exchange is under way.
  func forget()
  /// ‖what is left behind‖², of this rank's contributions or as an owner.
  var residualSquares: Double { get }

  /// The number of exchanges done.
  var exchangeCount: Int { get }
  /// The traffic counted so far.
  var traffic: Traffic { get }
  /// The traffic of one exchange of this rank, from the format alone.
  var predictedTraffic: Traffic { get }
  /// Whether ``predictedTraffic`` is the most that there can be, because messages are as long as what was found.
  var predictsAtMost: Bool { get }
  /// Time spent so far.
  var timing: ExchangeTiming { get }
  /// The groups that were sent as zeros so far because their values were not finite.
  var nonFiniteGroups: Int { get }

  /// What this rank keeps of its contributions that later results will bring; nil if owners keep it, or nobody.
  var remembered: FloatBuffer? { get }
  /// How far a result, with what ranks remember, may be from the sum of the contributions: 0 if it is exact up to rounding, else a
  /// share of the norm of the sum.
  var estimationError: Double { get }
}

extension Aggregation {
  public var predictsAtMost: Bool { false }
  public var nonFiniteGroups: Int { 0 }
  public var remembered: FloatBuffer? { nil }
  public var estimationError: Double { 0 }
  public func place() throws {}
  public func discard() throws { fatalError("\(specification) discards no exchange") }

  /// Exchanges a contribution that is final, from the beginning to the delivery.
  public func run(_ contribution: Contribution, into sink: Sink) throws {
    try begin(contribution)
    try deliver(into: sink)
  }
}

/// What a rank gives into an exchange, and what all ranks know of it.
public struct Contribution: Sendable {
  /// The step of training; all ranks name the same.
  public var step: Int
  /// The samples of the minibatch over all ranks; all ranks name the same.
  public var samples: Int
  /// Which of the buffers it is in; all ranks name the same.
  public var buffer: Int
  /// Whether it is final already; `markReady(upTo:)` says so otherwise.
  public var isReady: Bool
  /// The learning rate of the step, the same bits on every rank, for aggregations that deliver a change; others do not look at it.
  public var rate: Float

  /// A contribution to step `step`.
  public init(step: Int, samples: Int = 0, buffer: Int = 0, isReady: Bool = true, rate: Float = 0) {
    (self.step, self.samples, self.buffer, self.isReady, self.rate) = (step, samples, buffer, isReady, rate)
  }
}

/// What an aggregation delivers.
public enum AggregationResult: Hashable, Sendable {
  /// The sum of the contributions, by ranges of the flat buffer; an optimizer makes a change of it.
  case gradient
  /// What is to be subtracted from the parameters, in a few places: rate, momentum and memory are inside.
  case change
}

/// Where the result of an exchange goes; all ranks choose the same kind.
public enum Sink {
  /// Over the contribution itself, as in `MPI_IN_PLACE`; only with `CodedAllReduce.run(step:samples:into:)`.
  ///
  /// Inside a host this is the cheapest for floats: an owner writes the sum where each rank wants it, and nobody reads it again.
  case inPlace
  /// Into a buffer of the layout's length, every value of it.
  case buffer(FloatBuffer)
  /// A gradient, to a closure, piece by piece, every value once: the update of the model while the values are in the cache.
  ///
  /// Pieces come in any order; the closure must treat each value by itself.
  case update((Range<Int>, UnsafePointer<Float>) -> Void)
  /// A change, to a closure, shard by shard in order; the map says where the values of a shard lie in the flat buffer.
  case change((_ change: SparseVector, _ shard: Int, _ shards: ShardMap) -> Void)
}

/// What a turn of an exchange did.
public enum ExchangeTurn: Sendable {
  /// A unit of work; there may be more.
  case busy
  /// Nothing: others are awaited, or the contribution, or the delivery.
  case idle
  /// The exchange has ended.
  case done
}

/// Time spent, by kind of work.
public struct ExchangeTiming: Sendable {
  /// Encoding contributions.
  public var encode = Duration.zero
  /// Decoding, adding and encoding as an owner.
  public var sum = Duration.zero
  /// Decoding the result, with the update that is fused into it.
  public var decode = Duration.zero
  /// Waiting for others, in `deliver(into:)` and `discard()`.
  public var wait = Duration.zero

  /// No time yet.
  public init() {}
}

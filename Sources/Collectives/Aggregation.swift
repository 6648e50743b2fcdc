public import Buffers
public import Codecs
public import Transport

/// The aggregation of the ranks' contributions: one stream of exchanges, one under way at a time.
///
/// An exchange begins with ``begin(_:)``; ``markReady(upTo:)`` marks how much of the contribution is final; ``advance()``
/// carries it on, one unit of work at a time (``ExchangeDriver`` calls it, from a thread or between layers); ``deliver(into:)``
/// waits for the result, or ``discard()`` drops it. Nothing reaches the sink before that, so no parameter changes under a
/// backward pass.
///
/// Every function except ``markReady(upTo:)`` and ``abandon()`` is collective. Any thread may call them, one at a time.
public protocol Aggregation: Stateful {
  /// The full specification.
  var specification: String { get }
  /// What is delivered.
  var result: AggregationResult { get }

  /// Starts an exchange, which ``advance()`` carries on.
  ///
  /// - Throws: `ExchangeError` if a rank is missing; nothing can be exchanged after that.
  func begin(_ contribution: Contribution) throws
  /// Marks the values before `end` of the contribution as final; callable from any thread, and `end` only grows.
  func markReady(upTo end: Int)
  /// Does one unit of work, if there is one.
  ///
  /// - Throws: `ExchangeError` if a rank is missing or out of step; the exchange is then given up.
  func advance() throws -> ExchangeTurn
  /// Waits for the result and passes it to `sink`; after that the contribution may be overwritten.
  ///
  /// This marks the whole contribution as ready.
  func deliver(into sink: Sink) throws
  /// Ends an exchange without a result, as if it had never been; after that the contribution may be overwritten.
  ///
  /// All ranks must discard it. Only possible if the registry entry allows it (``AggregationCapabilities/discards``).
  func discard() throws
  /// Gives up an exchange that cannot end, so that MPI can be shut down cleanly.
  func abandon()

  /// Distributes state loaded from a checkpoint to where it is needed, if other ranks had saved it.
  func place() throws
  /// Clears the residuals of past contributions; no exchange may be under way.
  func forget()
  /// ‖residual‖², of this rank's contributions or as an owner.
  var residualSquares: Double { get }

  /// The number of completed exchanges.
  var exchangeCount: Int { get }
  /// The traffic counted so far.
  var traffic: Traffic { get }
  /// The traffic of one exchange of this rank, the next one, computed from the format alone.
  var predictedTraffic: Traffic { get }
  /// Whether ``predictedTraffic`` is an upper bound, because message lengths depend on the data.
  var predictsAtMost: Bool { get }
  /// Predictions for exchanges that differ by intention, as those of a ramp; nil if all are alike.
  var rampTraffic: RampTraffic? { get }
  /// Time spent so far.
  var timing: ExchangeTiming { get }
  /// The number of groups sent as zeros so far because their values were not finite.
  var nonFiniteGroups: Int { get }

  /// The part of this rank's contributions that later results will deliver; nil if owners keep it, or it is not kept.
  var remembered: FloatBuffer? { get }
  /// How far a result plus the residuals may be from the sum of the contributions: 0 if exact up to rounding, else a fraction
  /// of its norm.
  var estimationError: Double { get }

  /// Where this rank's gradient of the same samples is wanted, too, before an exchange begins; nil for nowhere.
  var secondPoint: SecondPoint? { get }
  /// How often each rank has uploaded its contribution, the same on every rank; nil if all do to every exchange.
  var uploads: UploadCounts? { get }
}

extension Aggregation {
  public var predictsAtMost: Bool { false }
  public var rampTraffic: RampTraffic? { nil }
  public var nonFiniteGroups: Int { 0 }
  public var remembered: FloatBuffer? { nil }
  public var estimationError: Double { 0 }
  public var secondPoint: SecondPoint? { nil }
  public var uploads: UploadCounts? { nil }
  public func place() throws {}
  public func discard() throws { fatalError("\(specification) discards no exchange") }

  /// Exchanges a final contribution, from start to delivery.
  public func run(_ contribution: Contribution, into sink: Sink) throws {
    try begin(contribution)
    try deliver(into: sink)
  }
}

/// A rank's input to an exchange, and what all ranks know of it.
public struct Contribution: Sendable {
  /// The training step, or another number of the exchange by which random codes are drawn; the same on all ranks.
  public var step: Int
  /// The samples of the minibatch over all ranks; the same on all ranks.
  public var samples: Int
  /// The index of the buffer it is in; the same on all ranks.
  public var buffer: Int
  /// Whether it is already final; otherwise `markReady(upTo:)` marks it.
  public var isReady: Bool
  /// The learning rate of the step, bit-identical on every rank, for aggregations that deliver a change; others ignore it.
  public var rate: Float
  /// The part of a step that it stands for over all ranks, for aggregations that clip; the same on all ranks.
  public var share: Double

  /// Creates a contribution to step `step`.
  public init(step: Int, samples: Int = 0, buffer: Int = 0, isReady: Bool = true, rate: Float = 0, share: Double = 1) {
    (self.step, self.samples, self.buffer, self.isReady) = (step, samples, buffer, isReady)
    (self.rate, self.share) = (rate, share)
  }
}

/// A model of a rank's own, and what is computed at it.
public struct SecondPoint {
  /// The model; only read.
  public let model: FloatBuffer
  /// The gradient at it.
  public let gradient: FloatBuffer
}

/// How often ranks have uploaded contributions.
public struct UploadCounts: Hashable, Sendable {
  /// The uploads of each rank.
  public let byRank: [Int]
  /// The exchanges.
  public let exchangeCount: Int
}

/// The traffic of exchanges that become smaller, by the format alone.
public struct RampTraffic: Hashable, Sendable {
  /// That of all exchanges so far.
  public var total: Traffic
  /// That of one exchange at the end.
  public var settled: Traffic
}

/// What an aggregation delivers.
public enum AggregationResult: Hashable, Sendable {
  /// The sum of the contributions, by ranges of the flat buffer; an optimizer turns it into a change.
  case gradient
  /// What is to be subtracted from the parameters, at a few positions: it includes rate, momentum and memory.
  case change
}

/// Where the result of an exchange goes; all ranks choose the same kind.
public enum Sink {
  /// Over the contribution itself, as in `MPI_IN_PLACE`; only with `CodedAllReduce.run(step:samples:into:)`.
  ///
  /// Within a host this is the cheapest for floats: an owner writes the sum where each rank wants it, and it is not read again.
  case inPlace
  /// Into a buffer of the layout's length, every value of it.
  case buffer(FloatBuffer)
  /// A gradient, to a closure, piece by piece, every value once: for updating the model while the values are in the cache.
  ///
  /// Pieces come in any order; the closure must treat each value independently.
  case update((Range<Int>, UnsafePointer<Float>) -> Void)
  /// A change, passed to a closure shard by shard in order; the map gives the positions of a shard's values in the flat buffer.
  case change((_ change: SparseVector, _ shard: Int, _ shards: ShardMap) -> Void)
}

/// The outcome of one turn of an exchange.
public enum ExchangeTurn: Sendable {
  /// A unit of work was done; there may be more.
  case busy
  /// Nothing was done: the exchange waits for others, the contribution, or the delivery.
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
  /// Decoding the result, including the fused update.
  public var decode = Duration.zero
  /// Waiting for others, in `deliver(into:)` and `discard()`.
  public var wait = Duration.zero

  /// Creates a timing of zero.
  public init() {}
}

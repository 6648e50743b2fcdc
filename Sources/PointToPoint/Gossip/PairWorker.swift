public import Buffers

/// A step of a worker in the order of its own.
public enum PairStep: Hashable, Sendable {
  /// It averaged its model with that of the worker that asked.
  case answer(to: Int)
  /// It applied the gradient of a minibatch, after the answer to its own question if it is active.
  case update(minibatch: Int)
}

/// A worker that averages its model with those of others while it computes gradients: what it may do when.
///
/// It knows nothing of messages. A worker with a partner keeps its model as it was when it asked, until it is answered and its gradient
/// is computed; so each average is one of two whole models, and both get the same values. Meanwhile it answers no worker, which is why only
/// workers that do not ask themselves are asked (``PairGraph``).
public final class PairWorker {
  /// Its number.
  public let id: Int
  /// Its model.
  public let model: FloatBuffer
  /// Where the answer comes to, or the model of one that asks.
  public let desk: FloatBuffer
  /// Its model when it began the minibatch, at which the gradient is computed.
  public let read: FloatBuffer
  /// What it has done since the last meeting.
  public private(set) var history: [PairStep] = []
  /// The minibatch that it computes; nil if it has none.
  public private(set) var minibatch: Int?
  /// The worker whose answer it awaits, and until then its model stays as it is; nil if it has none, or has been answered.
  public private(set) var awaited: Int?
  /// Those that have asked and are not answered, in the order in which they did.
  public private(set) var asking: [Int] = []

  private let graph: PairGraph
  private let seed: UInt64
  /// Whether it has been answered and has yet to take the answer.
  private var isAnswered = false
  /// What it is to do; nil if that follows from what comes.
  private var script: [PairStep]?

  /// A worker; an active one computes at its model itself, which does not change meanwhile.
  ///
  /// - Parameters:
  ///   - id: Its number.
  ///   - graph: Who asks whom.
  ///   - seed: The seed of who asks whom.
  ///   - model: Its model.
  ///   - desk: Memory of the same size.
  public init(_ id: Int, in graph: PairGraph, seed: UInt64, model: FloatBuffer, desk: FloatBuffer) {
    (self.id, self.graph, self.seed, self.model, self.desk) = (id, graph, seed, model, desk)
    read = graph.isActive(id) ? model : FloatBuffer(count: model.count)
  }

  /// Begins to work after a meeting, by these events if they are given.
  public func begin(by events: [PairEvent]?) {
    require(minibatch == nil && asking.isEmpty, "worker \(id) has work left at a meeting")
    history = []
    script = events?.compactMap { event in
      event.worker == id ? .update(minibatch: event.minibatch) : event.partner == id ? .answer(to: event.worker) : nil
    }
  }

  /// The minibatch after that which it computes, by the events that it was given; nil if none is left.
  var nextListed: Int? {
    for case .update(let next) in script?.dropFirst(history.count) ?? [] where next != minibatch { return next }
    return nil
  }

  /// Reads its model for a minibatch and asks, or is done if there is none: the worker ``awaited`` is to get the model.
  public func begin(_ minibatch: Int?) {
    self.minibatch = minibatch
    guard let minibatch else {
      dropFromScript { if case .update = $0 { true } else { false } }
      return
    }
    awaited = graph.partner(of: id, minibatch: minibatch, seed: seed)
    if read !== model { read.copy(from: model) }
  }

  /// Another worker asks no more.
  public func noteEnd(of other: Int) { dropFromScript { $0 == .answer(to: other) } }

  /// Leaves out steps that will not be done.
  private func dropFromScript(_ isDropped: (PairStep) -> Bool) {
    script = script.map { $0.prefix(history.count) + $0.dropFirst(history.count).filter { !isDropped($0) } }
  }

  /// Another worker has asked.
  public func note(_ asking: Int) { self.asking.append(asking) }

  /// Whose questions it may answer now, in the order in which they came; only the next by a list, if it has one.
  public var answerable: [Int] {
    guard awaited == nil && !isAnswered else { return [] }
    guard let script else { return asking }
    guard history.count < script.count, case .answer(let other) = script[history.count], asking.contains(other) else {
      return []
    }
    return [other]
  }

  /// Averages its model with `values`, those of a worker that has asked, which become the answer.
  public func answer(_ other: Int, averaging values: UnsafeMutablePointer<Float>) {
    require(answerable.contains(other), "worker \(id) answers out of its turn")
    asking.removeAll { $0 == other }
    average(model.baseAddress, values, count: model.count)
    history.append(.answer(to: other))
  }

  /// The answer is on the desk.
  public func takeAnswer() {
    require(awaited != nil, "worker \(id) is answered without a question")
    (awaited, isAnswered) = (nil, true)
  }

  /// Whether it may apply the gradient that it has computed.
  public var mayUpdate: Bool {
    guard let minibatch, awaited == nil else { return false }
    return script.map { history.count < $0.count && $0[history.count] == .update(minibatch: minibatch) } ?? true
  }

  /// What must come before it may apply the gradient: the answer of one worker, or the question of one; nil if nothing must.
  public var obstacle: Int? {
    if awaited != nil { return awaited }
    guard let script, history.count < script.count, case .answer(let other) = script[history.count] else { return nil }
    return other
  }

  /// Takes the answer as its model, to which the gradient is applied next.
  public func finish() {
    require(mayUpdate, "worker \(id) applies a gradient out of its turn")
    if isAnswered { model.copy(from: desk) }
    history.append(.update(minibatch: minibatch!))
    (minibatch, isAnswered) = (nil, false)
  }
}

/// Sets both vectors to their mean, (a + b)/2.
func average(_ a: UnsafeMutablePointer<Float>, _ b: UnsafeMutablePointer<Float>, count: Int) {
  for index in 0..<count {
    let mean = 0.5 * (a[index] + b[index])
    (a[index], b[index]) = (mean, mean)
  }
}

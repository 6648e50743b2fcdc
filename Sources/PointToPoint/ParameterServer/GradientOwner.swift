internal import Buffers
internal import Codecs
internal import Kernels

/// An owner that applies gradients as they come, or the mean of several.
///
/// The learning rate is that of a gradient: a push with the mean of n gradients moves the shard n times as far. What a worker pulled last
/// is kept for each of them; the delay of its next push is compensated by the distance to that.
/// Source: algorithms §7.1, §7.2, §7.4.
/// - Memory: the shard for each worker and each push that is applied at once, and once more if the compensation is adaptive, or if each
///   value has a rate of its own.
final class GradientOwner: OwnerRule {
  private(set) var version = 0
  let shard: OwnedShard
  private let rule: PushRule
  /// The pushes whose mean is applied at once.
  private let pushesPerUpdate: Int
  private let update: ParameterServer.Update
  private let finishUpdate: ParameterServer.FinishUpdate
  private let held: HeldShards
  /// The pushes that are not applied yet, with their gradients, and room for others.
  private var pending: [(push: Push, gradient: FloatBuffer)] = []
  private var rooms: [FloatBuffer]
  /// The pushes since the last update, those without a gradient among them, and t of the last.
  private var pushesSinceUpdate = 0
  private var number = 0
  /// s of the adaptive compensation; empty in other forms.
  private let squares: FloatBuffer
  /// The rates of values, and the sums by which they are found; empty if all values have the same.
  private let valueRates: AdaDelayValues?
  private let sums: FloatBuffer

  init(
    _ shard: OwnedShard, _ settings: ParameterServer.Settings, update: @escaping ParameterServer.Update,
    finishUpdate: @escaping ParameterServer.FinishUpdate
  ) {
    (self.shard, self.update, self.finishUpdate) = (shard, update, finishUpdate)
    (rule, pushesPerUpdate) = (settings.rule, settings.pushesPerUpdate)
    held = HeldShards(shard)
    rooms = (0..<(pushesPerUpdate == 1 ? 0 : pushesPerUpdate)).map { _ in FloatBuffer(count: shard.count) }
    squares = FloatBuffer(count: rule.compensation?.form == .adaptive ? shard.count : 0)
    valueRates = if case .adaDelayByValue(let l, let c) = rule.rate { AdaDelayValues(l: Float(l), c: c) } else { nil }
    sums = FloatBuffer(count: valueRates == nil ? 0 : shard.count)
  }

  func begin() { held.begin() }

  func room(for worker: Int) -> UnsafeMutablePointer<Float> { rooms[rooms.count - 1].baseAddress }

  /// Applies a push at once, block by block, so that values stay in the cache for all that is done to them; or keeps it.
  func take(_ push: Push, of code: UnsafeRawPointer) {
    guard pushesPerUpdate == 1 else {
      if push.samples > 0 { shard.forms.decode(shard.index, code, setting: room(for: push.worker)) }
      return take(push)
    }
    guard push.samples > 0 else { return }
    let rate: (Float) -> Float = { [rule] in
      rule.rate($0 * Float(push.gradientCount), staleness: push.staleness, number: push.number)
    }
    shard.forms.decodeBlocks(shard.index, code) { place, gradient in
      let first = place.lowerBound
      rule.compensation?.correct(
        gradient, now: shard.values + first, before: held[push.worker] + first,
        squares: squares.baseAddress + (squares.count > 0 ? first : 0), count: place.count)
      valueRates?.divide(
        gradient, sums: sums.baseAddress + first, count: place.count, staleness: push.staleness, number: push.number)
      let start = shard.elements.lowerBound + first
      update(start..<start + place.count, gradient, push.minibatch, rate, push.samples)
    }
    finishUpdate(push.minibatch, rate)
    version += 1
  }

  func take(_ push: Push) {
    if push.samples > 0 {
      let gradient = rooms.removeLast()
      rule.compensation?.correct(
        gradient.baseAddress, now: shard.values, before: held[push.worker], squares: squares.baseAddress, count: shard.count)
      pending.append((push, gradient))
    }
    pushesSinceUpdate += 1
    number = push.number
    if pushesSinceUpdate >= pushesPerUpdate { flush() }
  }

  /// Applies the mean of the pending pushes, added in the order of workers, each at the rate of its own staleness.
  func flush() {
    pushesSinceUpdate = 0
    guard !pending.isEmpty else { return }
    let terms = pending.enumerated().sorted { ($0.element.push.worker, $0.offset) < ($1.element.push.worker, $1.offset) }
      .map(\.element)
    let (first, sum) = (terms[0].push, terms[0].gradient.baseAddress)
    for term in terms {
      valueRates?.divide(
        term.gradient.baseAddress, sums: sums.baseAddress, count: shard.count, staleness: term.push.staleness, number: number)
    }
    // How far each is to move the shard, as a multiple of the learning rate.
    let lengths = terms.map { rule.rate(Float($0.push.gradientCount), staleness: $0.push.staleness, number: number) }
    let total = lengths.reduce(0, +)
    let areEqual = lengths.allSatisfy { $0 == lengths[0] }
    for (term, length) in zip(terms, lengths) where !areEqual { scale(term.gradient, by: length / total) }
    for term in terms.dropFirst() { add(term.gradient.baseAddress, count: shard.count, to: sum) }
    if areEqual && terms.count > 1 { scale(terms[0].gradient, by: 1 / Float(terms.count)) }
    let mean = total / Float(terms.count)
    let minibatch = terms.map(\.push.minibatch).min()!
    let rate: (Float) -> Float = { [rule, number] in
      areEqual ? rule.rate($0 * Float(first.gradientCount), staleness: first.staleness, number: number) : $0 * mean
    }
    update(shard.elements, sum, minibatch, rate, terms.reduce(0) { $0 + $1.push.samples })
    finishUpdate(minibatch, rate)
    rooms += pending.map(\.gradient)
    pending = []
    version += 1
  }

  private func scale(_ gradient: FloatBuffer, by factor: Float) {
    for i in 0..<shard.count { gradient.baseAddress[i] *= factor }
  }

  func encodeAnswer(to worker: Int, into code: UnsafeMutableRawPointer, context: EncodingContext) -> Int {
    held.encodePull(by: worker, into: code, context: context)
  }

  /// The sums of values stay: they are means over all pushes so far.
  func forget() { squares.clear() }

  func contribute(to inventory: inout StateInventory) {
    for (name, buffer) in [("meanSquare", squares), ("weightedSquares", sums)] where buffer.count > 0 {
      inventory.tensors.append(SavedTensor(name, .owned([shard.elements]), of: buffer))
    }
  }
}

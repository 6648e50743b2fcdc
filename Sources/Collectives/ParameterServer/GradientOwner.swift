internal import Buffers
internal import Codecs

/// An owner that applies gradients as they come, or the mean of several.
///
/// The learning rate is that of a gradient: a push with the mean of n gradients moves the shard n times as far. What a worker pulled last
/// is kept for each of them; the delay of its next push is compensated by the distance to that.
/// Source: algorithms §7.1, §7.2, §7.4.
/// - Memory: the shard for each worker and each push that is applied at once, and once more if the compensation is adaptive.
final class GradientOwner: OwnerRule {
  private(set) var version = 0
  private let shard: OwnedShard
  private let rule: PushRule
  /// The pushes whose mean is applied at once.
  private let pushesPerUpdate: Int
  private let update: ParameterServer.Update
  private let held: HeldShards
  /// The pushes that are not applied yet, with their gradients, and room for others.
  private var pending: [(push: Push, gradient: FloatBuffer)] = []
  private var rooms: [FloatBuffer]
  /// The pushes since the last update, those without a gradient among them, and t of the last.
  private var pushesSinceUpdate = 0
  private var number = 0
  /// s of the adaptive compensation; empty in other forms.
  private let squares: FloatBuffer

  init(_ shard: OwnedShard, _ settings: ParameterServer.Settings, update: @escaping ParameterServer.Update) {
    (self.shard, self.update) = (shard, update)
    (rule, pushesPerUpdate) = (settings.rule, settings.pushesPerUpdate)
    held = HeldShards(shard)
    rooms = (0..<settings.pushesPerUpdate).map { _ in FloatBuffer(count: shard.count) }
    squares = FloatBuffer(count: rule.compensation?.form == .adaptive ? shard.count : 0)
  }

  func begin() { held.begin() }

  func room(for worker: Int) -> UnsafeMutablePointer<Float> { rooms[rooms.count - 1].baseAddress }

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
    // How far each is to move the shard, as a multiple of the learning rate.
    let lengths = terms.map { rule.rate(Float($0.push.gradientCount), staleness: $0.push.staleness, number: number) }
    let total = lengths.reduce(0, +)
    let areEqual = lengths.allSatisfy { $0 == lengths[0] }
    for (term, length) in zip(terms, lengths) where !areEqual { scale(term.gradient, by: length / total) }
    for term in terms.dropFirst() { for i in 0..<shard.count { sum[i] += term.gradient.baseAddress[i] } }
    if areEqual && terms.count > 1 { scale(terms[0].gradient, by: 1 / Float(terms.count)) }
    let mean = total / Float(terms.count)
    update(
      shard.elements, sum, terms.map(\.push.minibatch).min()!,
      { [rule, number] in
        areEqual ? rule.rate($0 * Float(first.gradientCount), staleness: first.staleness, number: number) : $0 * mean
      },
      terms.reduce(0) { $0 + $1.push.samples })
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

  func forget() { squares.clear() }

  func contribute(to inventory: inout StateInventory) {
    guard squares.count > 0 else { return }
    inventory.tensors.append(SavedTensor("meanSquare", .owned([shard.elements]), of: squares))
  }
}

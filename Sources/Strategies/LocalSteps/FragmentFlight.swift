internal import Buffers
internal import Collectives
internal import Files
internal import Transport

/// A fragment that is exchanged while ranks go on with their steps, and what is needed to apply the result some steps later.
///
/// One is under way at a time. What has arrived before it is due, because state is read at a meeting, waits here and is saved; it
/// is applied at the same step all the same, so that a meeting changes no bit.
/// - Memory: the fragment as it was sent, and what has arrived, each of the size of the largest fragment.
final class FragmentFlight {
  /// An exchange that has begun and was not yet delivered.
  struct UnderWay {
    let exchange: any Aggregation
    let trafficBefore: Traffic
  }

  /// This rank's own values of the fragment when it was sent.
  let sent: FloatBuffer
  /// What is to be subtracted from the model, or the sum of which every rank takes the outer step itself.
  let arrived: FloatBuffer
  /// The fragment, and the step before which its result is applied; nil if nothing is on its way.
  var next: (index: Int, step: Int)?
  var underWay: UnderWay?

  /// Room for fragments of up to `count` values.
  init(count: Int) {
    sent = FloatBuffer(count: count)
    arrived = FloatBuffer(count: count)
  }

  func contribute(to inventory: inout StateInventory) {
    require(underWay == nil, "state is read while an exchange is under way")
    inventory.tensors.append(SavedTensor("sentFragment", .local, of: sent))
    inventory.tensors.append(SavedTensor("arrivedFragment", of: arrived))
    inventory.counters["flight"] = next.map { "\($0.index) \($0.step)" } ?? "none"
  }

  func restore(_ counters: [String: String]) {
    let numbers = (counters["flight"] ?? "").split(separator: " ").compactMap { Int($0) }
    next = numbers.count == 2 ? (numbers[0], numbers[1]) : nil
  }
}

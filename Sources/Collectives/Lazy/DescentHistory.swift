package import Buffers
internal import Kernels

/// How far the model has moved in the last steps: what is worth an upload is measured by it.
///
///     R = (1/M²) Σ ξ ‖θ^{k+1−δ} − θ^{k−δ}‖²/α²      δ = 1 … D
///
/// for M ranks, the sum of whose gradients makes steps at the rate α. Every term has the rate of its own step, so that R estimates
/// squared norms of gradients also where rates fall. All ranks have the same model, and find the same R.
///
/// - Source: Chen et al. 2018, "LAG: Lazily aggregated gradient", equations 7 and 8; algorithms §10.8.
/// - Memory: the model before the last step.
package final class DescentHistory {
  /// θ, which others change; without any, one that follows plain descent.
  let model: FloatBuffer
  private let isOwn: Bool
  /// θ of the last exchange.
  private let previous: FloatBuffer
  private let depth: Int
  /// ‖change‖²/α² of the last steps, the newest first.
  private(set) var changes: [Double] = []
  /// α of the last exchange; nil before the first.
  private var rate: Float?

  package init(_ model: FloatBuffer?, count: Int, depth: Int) {
    (isOwn, self.depth) = (model == nil, depth)
    self.model = model ?? FloatBuffer(count: count)
    require(self.model.count == count, "a model of \(self.model.count) values has gradients of \(count)")
    previous = FloatBuffer(count: count)
  }

  /// An exchange begins: takes note of what the step before has changed, and of the rate of this one.
  package func begin(rate: Float) {
    if let last = self.rate {
      let (square, scale) = (squaredDistance(model, previous), Double(last) * Double(last))
      changes = [scale > 0 ? square / scale : 0] + changes.prefix(depth - 1)
    }
    previous.copy(from: model)
    self.rate = rate
  }

  /// R for uploads of `rankCount` ranks; `weight` is ξ.
  package func threshold(weight: Double, rankCount: Int) -> Double {
    weight * changes.reduce(0, +) / Double(rankCount * rankCount)
  }

  /// Takes the step of plain descent with a sum, unless something else moves the model.
  func follow(_ sum: FloatBuffer) {
    guard isOwn, let rate else { return }
    for index in 0..<sum.count { model.baseAddress[index] -= rate * sum.baseAddress[index] }
  }

  func forget() { (changes, rate) = ([], nil) }

  // MARK: State

  func contribute(to inventory: inout StateInventory) {
    inventory.tensors.append(SavedTensor("lazyModel", .local, of: previous))
    inventory.counters["lazyChanges"] = changes.map { String($0.bitPattern) }.joined(separator: " ")
    inventory.counters["lazyRate"] = rate.map { String($0.bitPattern) }
  }

  func restore(_ counters: [String: String]) {
    changes = (counters["lazyChanges"] ?? "").split(separator: " ").compactMap { UInt64($0).map(Double.init(bitPattern:)) }
    rate = counters["lazyRate"].flatMap { UInt32($0) }.map(Float.init(bitPattern:))
  }
}

/// ‖a − b‖², with the same bits on every processor; differences are rounded to fp32.
func squaredDistance(_ a: FloatBuffer, _ b: FloatBuffer) -> Double {
  let block = 2048
  return withUnsafeTemporaryAllocation(of: Float.self, capacity: block) { room in
    guard let differences = room.baseAddress else { return 0 }
    return stride(from: 0, to: a.count, by: block).reduce(0) { sum, start in
      let count = min(block, a.count - start)
      subtract(a.baseAddress + start, b.baseAddress + start, count: count, into: differences)
      return sum + sumOfSquares(differences, count: count)
    }
  }
}

public import Buffers

/// The means and variances that a network with batch normalization has seen in training, and uses when it evaluates.
///
/// They are no parameters: no gradient changes them, and no codec or optimizer sees them. A gradient only proposes those of its
/// samples; ``Network/accept()`` makes them part of the running ones, so that steps that are skipped, and passes that measure,
/// leave no trace. Unless the ranks share the statistics of each batch, those of a rank are its own and influence nothing but
/// evaluation, which reads a combination of all ranks' (``combine(_:)``).
public final class RunningStatistics {
  /// A mean and a variance of each normalized layer, from the input on: `layers.3.running_mean`, `layers.3.running_var`.
  public let layout: TensorLayout
  /// Whether the ranks share the statistics of each batch, so that all hold the same running ones.
  public let isSynchronized: Bool
  /// The fewest rows that a sample has in a normalized layer; a rank needs two to learn anything.
  public let fewestRows: Int
  /// This rank's running statistics: 0.9 · themselves + 0.1 · those of the batch, with the variance of n/(n − 1).
  public let values: FloatBuffer
  /// The number of samples behind them in a step, which decays likewise; what they weigh among those of other ranks.
  public let weight: FloatBuffer
  /// What evaluation reads; the same memory as ``values`` if all ranks hold the same.
  public let combined: FloatBuffer
  /// How this rank shares the statistics of a batch with the others; nil if it computes alone.
  public var exchange: (any StatisticsExchange)?

  /// What the last gradient proposes; of layers that it did not reach, nothing.
  private let proposed: FloatBuffer
  private var isProposed: [Bool]
  private var sampleCount = 0

  /// The channels of each normalized layer, from the input on.
  public var channelCounts: [Int] { isProposed.indices.map { layout.tensors[2 * $0].count } }

  /// The share of a batch in the running statistics.
  static let share: Float = 0.1

  /// Statistics of means 0 and variances 1; nil if no layer has any.
  init?(_ plan: Plan) {
    (layout, isSynchronized, fewestRows) = plan.statistics
    guard layout.count > 0 else { return nil }
    values = FloatBuffer(count: layout.count)
    weight = FloatBuffer(count: 1)
    combined = isSynchronized ? values : FloatBuffer(count: layout.count)
    proposed = FloatBuffer(count: layout.count)
    isProposed = Array(repeating: false, count: layout.tensors.count / 2)
    for layer in isProposed.indices {
      for buffer in [values, combined] { buffer.values(in: layout.tensors[2 * layer + 1].range).update(repeating: 1) }
    }
  }

  /// The means and variances of a layer for evaluation.
  func evaluated(_ statistics: Plan.Statistics) -> (means: UnsafePointer<Float>, variances: UnsafePointer<Float>) {
    let (means, variances) = places(of: statistics.number)
    return (UnsafePointer(combined.baseAddress + means), UnsafePointer(combined.baseAddress + variances))
  }

  private func places(of layer: Int) -> (means: Int, variances: Int) {
    (layout.tensors[2 * layer].range.lowerBound, layout.tensors[2 * layer + 1].range.lowerBound)
  }
}

// MARK: - From batch to batch

extension RunningStatistics {
  /// Begins a gradient of `sampleCount` samples; what the one before proposed is forgotten.
  func begin(sampleCount: Int) {
    self.sampleCount = sampleCount
    for layer in isProposed.indices { isProposed[layer] = false }
  }

  /// Proposes the moments of a batch for a layer; those of a single row say nothing about the variance.
  func propose(_ moments: BatchMoments, of statistics: Plan.Statistics) {
    guard moments.count > 1 else { return }
    let (means, variances) = places(of: statistics.number)
    for channel in moments.means.indices {
      proposed[means + channel] = Float(moments.means[channel])
      proposed[variances + channel] = Float(moments.squares[channel] / (moments.count - 1))
    }
    isProposed[statistics.number] = true
  }

  /// Makes what the last gradient proposed part of the running statistics.
  func accept() {
    let keep = 1 - RunningStatistics.share
    func fold(_ value: Float, _ new: Float) -> Float { keep * value + RunningStatistics.share * new }
    if isProposed.contains(true) { weight[0] = fold(weight[0], Float(sampleCount)) }
    for layer in isProposed.indices where isProposed[layer] {
      for tensor in layout.tensors[2 * layer...2 * layer + 1] {
        for place in tensor.range { values[place] = fold(values[place], proposed[place]) }
      }
    }
    begin(sampleCount: 0)
  }

  /// The moments of a batch over all ranks, joined in rank order, from those of this rank.
  ///
  /// - Throws: What the exchange throws.
  func joined(_ own: BatchMoments) throws -> BatchMoments {
    guard let exchange else { return own }
    return try exchange.gather(own.words).reduce(into: BatchMoments(channels: own.means.count)) { $0.join(BatchMoments($1)) }
  }

  /// Takes part in the exchanges of a gradient without having samples for it: forward, then backward.
  func takePart() throws {
    begin(sampleCount: 0)
    guard exchange != nil else { return }
    for layer in isProposed.indices {
      let channels = layout.tensors[2 * layer].count
      propose(try joined(BatchMoments(channels: channels)), of: Plan.Statistics(number: layer))
    }
    for layer in isProposed.indices.reversed() {
      _ = try summed(Array(repeating: 0, count: 2 * layout.tensors[2 * layer].count))
    }
  }

  /// The sums over the ranks, in rank order.
  func summed(_ own: [Double]) throws -> [Double] {
    guard let exchange else { return own }
    return try exchange.gather(own).reduce(into: Array(repeating: 0, count: own.count)) { sums, terms in
      for index in sums.indices { sums[index] += terms[index] }
    }
  }
}

// MARK: - Over the ranks

extension RunningStatistics {
  /// Makes what evaluation reads: the statistics of all ranks together, each with its weight and ``values``, in rank order.
  ///
  /// The mean of the means, and the mean of the variances and of the squared distances of the means; in fp64. Ranks that have seen
  /// nothing do not count; if none has, all stays as it is. A single rank's own come out with the same bits.
  public func combine(_ ranks: [(weight: Float, values: ArraySlice<Float>)]) {
    let total = ranks.reduce(0.0) { $0 + Double($1.weight) }
    guard total > 0, !isSynchronized else { return }
    func mean(_ value: (ArraySlice<Float>) -> Double) -> Double {
      ranks.reduce(0.0) { $1.weight > 0 ? $0 + Double($1.weight) * value($1.values) : $0 } / total
    }
    for layer in isProposed.indices {
      let (means, variances) = places(of: layer)
      for channel in 0..<layout.tensors[2 * layer].count {
        let center = mean { Double($0[$0.startIndex + means + channel]) }
        combined[means + channel] = Float(center)
        combined[variances + channel] = Float(
          mean { values in
            let distance = Double(values[values.startIndex + means + channel]) - center
            return Double(values[values.startIndex + variances + channel]) + distance * distance
          })
      }
    }
  }

  /// Makes ``values`` those that evaluation reads, on a number of ranks that did not save this rank's own.
  public func startFromCombined() {
    guard !isSynchronized else { return }
    values.copy(from: combined)
  }

  /// Runs `body`, and then takes back what it changed.
  public func restoring<Result>(after body: () throws -> Result) rethrows -> Result {
    let buffers = [values, weight, combined]
    let kept = buffers.map { buffer in
      let copy = FloatBuffer(count: buffer.count)
      copy.copy(from: buffer)
      return copy
    }
    defer {
      for (buffer, copy) in zip(buffers, kept) { buffer.copy(from: copy) }
      begin(sampleCount: 0)
    }
    return try body()
  }
}

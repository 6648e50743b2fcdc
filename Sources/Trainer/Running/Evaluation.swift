public import Buffers
internal import Collectives
public import Datasets
internal import Files
internal import Foundation
internal import MPI
public import Networks
internal import Reporting
internal import Strategies
public import Transport

/// The quality of a model on the test samples.
public struct Evaluation: Hashable, Sendable {
  /// The mean of −log p over the targets of the test samples, in nats.
  public let loss: Double
  /// The share of the targets of the test samples that were the most probable class.
  public let accuracy: Double
  /// The share of utterances recognised, for speech.
  public let digitAccuracy: Double?
  /// The share of test samples classified as their realigned labels; nil before the first realignment.
  ///
  /// ``accuracy`` and ``loss`` always use the labels of the data set, so that runs with and without realignment are comparable.
  /// This is a different measure: a model made these labels, and is judged by how well it agrees with them.
  public let alignedAccuracy: Double?
  /// e to the loss, for text: as uncertain as a choice among that number of equally probable tokens; nil for other data.
  public let perplexity: Double?

  /// The loss in bits for each token, for text; nil for other data.
  public var bitsPerCharacter: Double? { perplexity.map { _ in loss / log(2) } }

  /// The result for a metrics file.
  var figures: TestResult {
    TestResult(
      loss: loss, accuracy: accuracy, digitAccuracy: digitAccuracy, alignedAccuracy: alignedAccuracy, perplexity: perplexity,
      bitsPerCharacter: bitsPerCharacter)
  }

  /// The result in a few words for users, without a full stop.
  var text: String {
    let words: [String?] = [
      "test loss \(decimal(loss, digits: 4))", perplexity.map { "perplexity \(decimal($0, digits: 3))" },
      bitsPerCharacter.map { "\(decimal($0, digits: 3)) bits per character" },
      "accuracy \(decimal(accuracy * 100, digits: 2)) %", digitAccuracy.map { "digits \(decimal($0 * 100, digits: 2)) %" },
      alignedAccuracy.map { "\(decimal($0 * 100, digits: 2)) % by realigned labels" },
    ]
    return words.compactMap(\.self).joined(separator: ", ")
  }
}

/// Evaluates a model on the test samples; all ranks get the same numbers.
///
/// Each rank takes its share, which all slices of a model have in common; for speech, whole utterances. Sums of ranks are added
/// in rank order, in fp64.
public final class Evaluator {
  /// The number of samples that are evaluated at once: 512, or fewer if they need more than 64 MiB.
  static func batchSize(of network: any Network) -> Int { max(1, min(512, (64 << 20) / max(1, network.bytesOfSample))) }

  private let dataset: any Dataset
  private let network: any Network
  private let records: RecordExchange
  /// Whether this rank reports the samples that it has in common with the other slices of its model.
  private let isCounted: Bool
  /// This rank's test samples.
  private let samples: Range<Int>
  /// This rank's utterances.
  private let utterances: Range<Int>
  private let batch: Minibatch
  private let logPosteriors: FloatBuffer?
  private let labels: RealignedLabels?
  private let statistics: ModelStatistics?

  /// An evaluator of models of `network` on the test samples of `dataset`.
  ///
  /// The ranks of `grid` exchange their sums over `records`, which names a rank that does not respond.
  public convenience init(_ dataset: any Dataset, network: any Network, on grid: RankGrid, over records: RecordExchange) {
    self.init(dataset, network: network, on: grid, over: records, labels: nil)
  }

  /// An evaluator that also compares with `labels` once they are not the data set's own.
  init(
    _ dataset: any Dataset, network: any Network, on grid: RankGrid, over records: RecordExchange, labels: RealignedLabels?
  ) {
    isCounted = grid.slice == 0
    self.dataset = dataset
    self.network = network
    self.records = records
    self.labels = labels
    statistics = ModelStatistics(network, on: grid)
    if let spoken = dataset.utterances {
      let weights = [0] + spoken.frames.map(\.upperBound)
      utterances = Partition(cumulativeWeights: weights, into: grid.shareCount)[grid.share]
      samples = weights[utterances.lowerBound]..<weights[utterances.upperBound]
    } else {
      utterances = 0..<0
      samples = Partition(count: dataset.count(.test), into: grid.shareCount)[grid.share]
    }
    batch = Minibatch(capacity: max(1, min(Evaluator.batchSize(of: network), samples.count)), of: dataset.form)
    logPosteriors = dataset.utterances == nil ? nil : FloatBuffer(count: batch.capacity * network.classCount)
  }

  /// Evaluates `parameters`.
  ///
  /// Collective.
  ///
  /// - Communication: One record from each rank to each other.
  public func evaluate(_ parameters: FloatBuffer) throws -> Evaluation {
    try statistics?.combine()
    var total = BatchResult()
    var (recognised, agreeing) = (0, 0)
    let aligned = labels.flatMap { $0.epoch > 0 ? $0 : nil }
    if let spoken = dataset.utterances {
      for utterance in utterances {
        var scores = Array(repeating: 0.0, count: network.classCount / spoken.statesPerDigit)
        try evaluate(spoken.frames[utterance], with: parameters, adding: &total) { samples, rows in
          spoken.addScores(of: UnsafeBufferPointer(rows), to: &scores)
          if let aligned { agreeing += agreement(of: UnsafeBufferPointer(rows), with: aligned, for: samples) }
        }
        if Utterances.decide(scores) == spoken.digits[utterance] { recognised += 1 }
      }
    } else {
      try evaluate(samples, with: parameters, adding: &total) { _, _ in }
    }
    var own = [total.lossSum, Double(total.correct), Double(total.count), Double(recognised), Double(agreeing)]
    if !isCounted { own = own.map { _ in 0 } }
    let sums = try records.gather(own.map(\.bitPattern), activity: "an evaluation")
    func sum(_ word: Int) -> Double { sums.reduce(0) { $0 + Double(bitPattern: $1[word]) } }
    let count = max(1, sum(2))
    let loss = sum(0) / count
    return Evaluation(
      loss: loss, accuracy: sum(1) / (count * Double(network.targetCount)),
      digitAccuracy: dataset.utterances.map { sum(3) / Double(max(1, $0.count)) },
      alignedAccuracy: aligned.map { _ in sum(4) / count }, perplexity: dataset.kind == .tokens ? exp(loss) : nil)
  }

  /// The number of `samples` whose class of highest posterior, the lowest of equals, is their realigned label.
  private func agreement(
    of logPosteriors: UnsafeBufferPointer<Float>, with labels: RealignedLabels, for samples: Range<Int>
  ) -> Int {
    let classCount = network.classCount
    return samples.enumerated().count { row, sample in
      let start = row * classCount
      let best = (start + 1..<start + classCount).reduce(start) { logPosteriors[$1] > logPosteriors[$0] ? $1 : $0 }
      return best - start == labels[sample, .test]
    }
  }

  /// Evaluates test samples by minibatches; `posteriors` gets the samples and log posterior rows of each, for speech only.
  private func evaluate(
    _ range: Range<Int>, with parameters: FloatBuffer, adding total: inout BatchResult,
    posteriors: (Range<Int>, UnsafeMutableBufferPointer<Float>) -> Void
  ) throws {
    var start = range.lowerBound
    while start < range.upperBound {
      let end = min(start + batch.capacity, range.upperBound)
      dataset.load(start..<end, of: .test, into: batch)
      let result = try network.evaluate(batch, parameters: parameters, logPosteriors: logPosteriors)
      total.lossSum += result.lossSum
      total.correct += result.correct
      total.count += result.count
      if let logPosteriors { posteriors(start..<end, logPosteriors.values(in: 0..<(end - start) * network.classCount)) }
      start = end
    }
  }
}

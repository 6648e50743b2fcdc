public import Buffers
public import Collectives
public import Datasets
internal import Foundation
internal import MPI
public import Networks

/// How good a model is on the test samples.
public struct Evaluation: Hashable, Sendable {
  /// The mean of −log p over the test samples.
  public let loss: Double
  /// The share of test samples classified rightly.
  public let accuracy: Double
  /// The share of utterances recognised, for speech.
  public let digitAccuracy: Double?
}

/// Judges a model on the test samples, each rank on its share; all ranks get the same numbers.
///
/// Of speech, a rank takes whole utterances. Sums of ranks are added in rank order, in fp64.
public final class Evaluator {
  private static let batchSize = 512

  private let dataset: any Dataset
  private let network: any Network
  private let records: RecordExchange
  /// This rank's test samples.
  private let samples: Range<Int>
  /// This rank's utterances.
  private let utterances: Range<Int>
  private let batch: Minibatch
  private let logPosteriors: FloatBuffer?

  /// An evaluator of models of `network` on the test samples of `dataset`.
  ///
  /// The ranks of `hosts` tell one another their sums by `records`, which names a rank that stays away.
  public init(_ dataset: any Dataset, network: any Network, on hosts: HostMap, over records: RecordExchange) {
    let world = hosts.world
    self.dataset = dataset
    self.network = network
    self.records = records
    if let spoken = dataset.utterances {
      let weights = [0] + spoken.frames.map(\.upperBound)
      utterances = Partition(cumulativeWeights: weights, into: world.count)[world.rank]
      samples = weights[utterances.lowerBound]..<weights[utterances.upperBound]
    } else {
      utterances = 0..<0
      samples = Partition(count: dataset.count(.test), into: world.count)[world.rank]
    }
    batch = Minibatch(capacity: max(1, min(Evaluator.batchSize, samples.count)), featureCount: dataset.featureCount)
    logPosteriors = dataset.utterances == nil ? nil : FloatBuffer(count: batch.capacity * network.classCount)
  }

  /// Judges `parameters`; collective.
  ///
  /// - Communication: one record of each rank to each other.
  public func evaluate(_ parameters: FloatBuffer) throws -> Evaluation {
    var total = BatchResult()
    var recognised = 0
    if let spoken = dataset.utterances {
      for utterance in utterances {
        var scores = Array(repeating: 0.0, count: network.classCount / spoken.statesPerDigit)
        try evaluate(spoken.frames[utterance], with: parameters, adding: &total) { rows in
          unsafe spoken.addScores(of: UnsafeBufferPointer(rows), to: &scores)
        }
        if Utterances.decide(scores) == spoken.digits[utterance] { recognised += 1 }
      }
    } else {
      try evaluate(samples, with: parameters, adding: &total) { _ in }
    }
    let own = [total.lossSum, Double(total.correct), Double(total.count), Double(recognised)]
    let sums = try records.gather(own.map(\.bitPattern), activity: "an evaluation")
    func sum(_ word: Int) -> Double { sums.reduce(0) { $0 + Double(bitPattern: $1[word]) } }
    let count = max(1, sum(2))
    return Evaluation(
      loss: sum(0) / count, accuracy: sum(1) / count,
      digitAccuracy: dataset.utterances.map { sum(3) / Double(max(1, $0.count)) })
  }

  /// Judges test samples, a minibatch at a time; `posteriors` gets the rows of log posteriors of each, of speech alone.
  private func evaluate(
    _ range: Range<Int>, with parameters: FloatBuffer, adding total: inout BatchResult,
    posteriors: (UnsafeMutableBufferPointer<Float>) -> Void
  ) throws {
    var start = range.lowerBound
    while start < range.upperBound {
      let end = min(start + batch.capacity, range.upperBound)
      dataset.load(start..<end, of: .test, into: batch)
      let result = try network.evaluate(batch, parameters: parameters, logPosteriors: logPosteriors)
      total.lossSum += result.lossSum
      total.correct += result.correct
      total.count += result.count
      if let logPosteriors { unsafe posteriors(logPosteriors.values(in: 0..<(end - start) * network.classCount)) }
      start = end
    }
  }
}

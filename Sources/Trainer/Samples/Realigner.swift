internal import Buffers
internal import Checkpoints
internal import Collectives
internal import Datasets
internal import Foundation
internal import MPI
internal import Networks
internal import Strategies
internal import Transport

/// Assigns the samples of a data set their most likely labels under a model; each rank aligns its share of the utterances,
/// which all slices of a model have in common.
///
/// The log posteriors of each utterance are computed in minibatches of its own, so labels do not depend on the number of ranks.
/// Source: algorithms §1.11.
package struct Realigner {
  /// The outcome for the training samples; the same on every rank.
  struct Result: Hashable {
    /// The number of training samples whose label changed.
    var changed = 0
    /// The number of training utterances that were too short and kept their labels.
    var kept = 0
  }

  private static let batchSize = 512

  let dataset: any RealignableDataset
  let network: any Network
  let grid: RankGrid
  let records: RecordExchange

  /// Recomputes the labels of both splits with the model `parameters`.
  ///
  /// Collective.
  ///
  /// Class priors are the relative frequencies of the previous training labels. All ranks end with the same labels, verified by
  /// hash, and the same number of samples of each class, verified by integer sums of what each rank has aligned.
  ///
  /// - Communication: An all-gather of 2 bytes per sample, an all-reduce of 8 bytes per class, one record.
  /// - Throws: `TrainingError` on all ranks if the sums or hashes differ.
  func realign(_ labels: RealignedLabels, with parameters: FloatBuffer, after epoch: Int) throws -> Result {
    let old = labels.counts(.train, classCount: dataset.classCount)
    let total = Double(old.reduce(0, +))
    // A class without samples is in no alignment either, unless an alignment of short utterances left it out by chance.
    let logPriors = old.map { log(Double(max($0, 1)) / total) }
    let result = try align(.train, labels, parameters, logPriors)
    _ = try align(.test, labels, parameters, logPriors)
    labels.epoch = epoch
    return result
  }

  private func align(
    _ split: Split, _ labels: RealignedLabels, _ parameters: FloatBuffer, _ logPriors: [Double]
  ) throws -> Result {
    let world = grid.all.world
    let frames = dataset.frames(ofUtterances: split)
    let share = Partition(cumulativeWeights: [0] + frames.map(\.upperBound), into: grid.shareCount)[grid.share]
    let aligned = try align(share, of: split, frames, labels, parameters, logPriors)
    // The first slice of a model reports for all.
    let (own, kept) = grid.slice == 0 ? aligned : ([], 0)

    let activity = "the realignment"
    let keptByRank = try records.gather([UInt64(kept)], activity: activity)
    let all = try grid.all.enter(activity) { try world.allGather(varying: own) }.joined()
    var result = Result(kept: keptByRank.reduce(0) { $0 + Int($1[0]) })
    for (index, label) in all.enumerated() {
      if labels[index, split] != Int(label) { result.changed += 1 }
      labels[index, split] = Int(label)
    }

    var counts = Array(repeating: 0, count: dataset.classCount)
    for label in own { counts[Int(label)] += 1 }
    try grid.all.enter(activity) { try world.allReduce(&counts, .sum) }
    let isRight = all.count == dataset.count(split) && counts == labels.counts(split, classCount: dataset.classCount)
    let hash = labels.hash(split)
    let verdicts = try records.gather([hash, isRight ? 1 : 0], activity: activity)
    guard verdicts.allSatisfy({ $0 == [hash, 1] }) else {
      throw TrainingError(
        "the realignment gave the ranks different labels; this is a fault of the program or of a machine", exitStatus: .internal
      )
    }
    return result
  }

  /// The labels of the frames of `utterances`, concatenated, and the number of utterances that kept theirs.
  private func align(
    _ utterances: Range<Int>, of split: Split, _ frames: [Range<Int>], _ labels: RealignedLabels, _ parameters: FloatBuffer,
    _ logPriors: [Double]
  ) throws -> (labels: [UInt16], kept: Int) {
    let classCount = dataset.classCount
    let batch = Minibatch(capacity: Realigner.batchSize, of: dataset.form)
    let rows = FloatBuffer(count: Realigner.batchSize * classCount)
    let logPosteriors = FloatBuffer(count: (frames[utterances].map(\.count).max() ?? 0) * classCount)
    var (own, kept): ([UInt16], Int) = ([], 0)
    for utterance in utterances {
      let range = frames[utterance]
      for start in stride(from: range.lowerBound, to: range.upperBound, by: Realigner.batchSize) {
        let end = min(start + Realigner.batchSize, range.upperBound)
        dataset.load(start..<end, of: split, into: batch)
        _ = try network.evaluate(batch, parameters: parameters, logPosteriors: rows)
        let place = (start - range.lowerBound) * classCount
        (logPosteriors.baseAddress + place).update(from: rows.baseAddress, count: (end - start) * classCount)
      }
      let values = UnsafeBufferPointer(logPosteriors.values(in: 0..<range.count * classCount))
      if let aligned = dataset.align(utterance, of: split, logPosteriors: values, logPriors: logPriors) {
        own += aligned.map { UInt16($0) }
      } else {
        own += range.map { UInt16(labels[$0, split]) }
        kept += 1
      }
    }
    return (own, kept)
  }
}

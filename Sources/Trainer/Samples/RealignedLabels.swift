internal import Buffers
internal import Checkpoints
internal import Datasets

/// The labels that a model gave to the samples of a data set, in the place of the first ones; the same on every rank.
///
/// Labels are whole numbers below 2²⁴, which fp32 holds exactly, so that checkpoints keep them beside all other state.
package final class RealignedLabels {
  /// The epoch after which the labels were made, counted from 1; 0 where they are still the data set's own.
  var epoch = 0
  private let train: FloatBuffer
  private let test: FloatBuffer

  /// Room for the labels of `dataset`, and its own to begin with.
  init(_ dataset: any RealignableDataset) {
    train = FloatBuffer(count: dataset.count(.train))
    test = FloatBuffer(count: dataset.count(.test))
    for split in Split.allCases {
      let buffer = self.buffer(split)
      for index in 0..<buffer.count { buffer[index] = Float(dataset.label(index, of: split)) }
    }
  }

  /// The labels of `dataset`, called `specification`; throws `TrainingError` where no model can improve them.
  convenience init(requiredOf dataset: any Dataset, _ specification: String) throws(TrainingError) {
    guard let dataset = dataset as? any RealignableDataset else {
      throw TrainingError(
        "--realign: the labels of \(specification) do not come from an alignment; only those of data such as speech: can be realigned",
        exitStatus: .configuration)
    }
    self.init(dataset)
  }

  /// The label of a sample.
  subscript(index: Int, split: Split) -> Int {
    get { Int(buffer(split)[index]) }
    set { buffer(split)[index] = Float(newValue) }
  }

  private func buffer(_ split: Split) -> FloatBuffer { split == .train ? train : test }

  /// How many samples of a split have each class.
  func counts(_ split: Split, classCount: Int) -> [Int] {
    var counts = Array(repeating: 0, count: classCount)
    for index in 0..<buffer(split).count { counts[self[index, split]] += 1 }
    return counts
  }

  /// The hash of a split's labels.
  func hash(_ split: Split) -> UInt64 { buffer(split).hash() }

  /// Adds the labels to the list of everything, where they are not the data set's own.
  ///
  /// Four bytes for each sample, on rank 0.
  func contribute(to inventory: inout StateInventory) {
    inventory.counters["realignedAfterEpoch"] = String(epoch)
    guard epoch > 0 else { return }
    inventory.tensors += [SavedTensor("labels.train", of: train), SavedTensor("labels.test", of: test)]
  }

  /// Prepares for the labels of a checkpoint, which are read after this into the list of everything.
  func prepare(for counters: [String: String]) {
    epoch = counters["realignedAfterEpoch"].flatMap { Int($0) } ?? 0
  }
}

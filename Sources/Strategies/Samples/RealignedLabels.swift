package import Buffers
package import Checkpoints
package import Datasets

/// The labels that a model assigned to the samples of a data set, in place of the original ones; the same on every rank.
///
/// Labels are integers below 2²⁴, which fp32 represents exactly, so checkpoints store them with all other state.
package final class RealignedLabels {
  /// The epoch after which the labels were made, counted from 1; 0 if they are still the data set's own.
  package var epoch = 0
  private let train: FloatBuffer
  private let test: FloatBuffer

  /// Storage for the labels of `dataset`, initially its own.
  package init(_ dataset: any RealignableDataset) {
    train = FloatBuffer(count: dataset.count(.train))
    test = FloatBuffer(count: dataset.count(.test))
    for split in Split.allCases {
      let buffer = self.buffer(split)
      for index in 0..<buffer.count { buffer[index] = Float(dataset.label(index, of: split)) }
    }
  }

  /// The labels of `dataset`, called `specification`; throws `TrainingError` if no model can improve them.
  package convenience init(requiredOf dataset: any Dataset, _ specification: String) throws(TrainingError) {
    guard let dataset = dataset as? any RealignableDataset else {
      throw TrainingError(
        "--realign: the labels of \(specification) do not come from an alignment; only those of data such as speech: can be realigned",
        exitStatus: .configuration)
    }
    self.init(dataset)
  }

  /// The label of a sample.
  package subscript(index: Int, split: Split) -> Int {
    get { Int(buffer(split)[index]) }
    set { buffer(split)[index] = Float(newValue) }
  }

  private func buffer(_ split: Split) -> FloatBuffer { split == .train ? train : test }

  /// The number of samples of each class in a split.
  package func counts(_ split: Split, classCount: Int) -> [Int] {
    var counts = Array(repeating: 0, count: classCount)
    for index in 0..<buffer(split).count { counts[self[index, split]] += 1 }
    return counts
  }

  /// The hash of a split's labels.
  package func hash(_ split: Split) -> UInt64 { buffer(split).hash() }

  /// Adds the labels to the inventory, unless they are the data set's own.
  ///
  /// Four bytes per sample, on rank 0.
  package func contribute(to inventory: inout StateInventory) {
    inventory.counters["realignedAfterEpoch"] = String(epoch)
    guard epoch > 0 else { return }
    inventory.tensors += [SavedTensor("labels.train", of: train), SavedTensor("labels.test", of: test)]
  }

  /// Prepares for the labels of a checkpoint, which are read into the inventory afterwards.
  package func prepare(for counters: [String: String]) {
    epoch = counters["realignedAfterEpoch"].flatMap { Int($0) } ?? 0
  }
}

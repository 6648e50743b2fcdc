public import Buffers

/// The two parts of a data set.
public enum Split: Int, CaseIterable, Sendable {
  /// What the model is trained on.
  case train
  /// What it is evaluated on; never trained on.
  case test
}

/// Labelled samples of one length, addressed by split and index.
///
/// A data set never changes after it is made, so that any thread may read it. It knows nothing of ranks: ``SampleOrder`` and
/// the trainer decide which rank reads which sample.
public protocol Dataset: AnyObject, Sendable {
  /// The specification as it was written: `idx:../data/mnist`.
  var specification: String { get }
  /// The number of inputs of a sample.
  var featureCount: Int { get }
  /// The shape of a sample that is an image, of `featureCount` values; nil if samples are none.
  var imageShape: SampleShape? { get }
  /// Labels are 0 … `classCount` − 1.
  var classCount: Int { get }
  /// A hash of the data, by which ranks check that they hold the same.
  var fingerprint: UInt64 { get }
  /// How the test samples form spoken utterances; nil if they do not.
  var utterances: Utterances? { get }

  /// The number of samples of a split.
  func count(_ split: Split) -> Int

  /// The label of a sample.
  func label(_ index: Int, of split: Split) -> Int

  /// Writes the inputs of one sample, standardised to about zero mean and unit variance over the training split.
  ///
  /// - Parameters:
  ///   - index: 0 … `count(split)` − 1.
  ///   - split: the part of the data.
  ///   - inputs: room for `featureCount` values.
  /// - Returns: the sample's label.
  func read(_ index: Int, of split: Split, into inputs: UnsafeMutablePointer<Float>) -> Int
}

extension Dataset {
  /// Nil, unless a data set overrides it.
  public var imageShape: SampleShape? { nil }

  /// Nil, unless a data set overrides it.
  public var utterances: Utterances? { nil }

  /// Fills `batch` with the samples `indices` of `split`, one row each, and sets its count.
  public func load(_ indices: some Collection<some BinaryInteger>, of split: Split, into batch: Minibatch) {
    require(
      batch.featureCount == featureCount,
      "a minibatch of samples of \(batch.featureCount) inputs cannot take samples of \(featureCount)")
    require(indices.count <= batch.capacity, "a minibatch of \(batch.capacity) cannot take \(indices.count) samples")
    let count = count(split)
    var row = 0
    for index in indices {
      require(index >= 0 && index < count, "no sample \(index) in a split of \(count)")
      batch.labels[row] = Int32(read(Int(index), of: split, into: batch.inputs.baseAddress + row * featureCount))
      row += 1
    }
    batch.count = row
  }
}

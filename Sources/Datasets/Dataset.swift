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
  /// What the inputs of a sample are.
  var kind: SampleForm.Kind { get }
  /// Labels are 0 … `classCount` − 1.
  var classCount: Int { get }
  /// A hash of the data, by which ranks check that they hold the same.
  var fingerprint: UInt64 { get }
  /// How the test samples form spoken utterances; nil if they do not.
  var utterances: Utterances? { get }

  /// The number of samples of a split.
  func count(_ split: Split) -> Int

  /// The label of a sample; of one with several targets, the first of them.
  func label(_ index: Int, of split: Split) -> Int

  /// Writes the inputs and the targets of one sample; values are standardised to about zero mean and unit variance over the training
  /// split.
  ///
  /// - Parameters:
  ///   - index: 0 … `count(split)` − 1.
  ///   - split: the part of the data.
  ///   - variation: random numbers for a variation of the sample, such as a mirrored image, if the data set makes any; nil for the
  ///     sample as it is.
  ///   - inputs: room for `featureCount` values.
  ///   - labels: room for the targets.
  func read(
    _ index: Int, of split: Split, variation: Philox?, into inputs: UnsafeMutablePointer<Float>,
    labels: UnsafeMutablePointer<Int32>)
}

extension Dataset {
  /// Values without a place, unless a data set overrides it.
  public var kind: SampleForm.Kind { .values }

  /// The form of the samples.
  public var form: SampleForm { SampleForm(inputCount: featureCount, classCount: classCount, kind: kind) }

  /// Nil, unless a data set overrides it.
  public var utterances: Utterances? { nil }

  /// Fills `batch` with the samples `indices` of `split`, one row each, and sets its count; varied if the minibatch has an origin.
  public func load(_ indices: some Collection<some BinaryInteger>, of split: Split, into batch: Minibatch) {
    require(
      batch.featureCount == featureCount && batch.targetCount == form.targetCount,
      "a minibatch of samples of \(batch.featureCount) inputs and \(batch.targetCount) targets cannot take samples of "
        + "\(featureCount) and \(form.targetCount)")
    require(indices.count <= batch.capacity, "a minibatch of \(batch.capacity) cannot take \(indices.count) samples")
    let count = count(split)
    var row = 0
    for index in indices {
      require(index >= 0 && index < count, "no sample \(index) in a split of \(count)")
      let variation = batch.origin?.random(.augmentation, row: row)
      batch.labels.withUnsafeMutableBufferPointer { labels in
        read(
          Int(index), of: split, variation: variation, into: batch.inputs.baseAddress + row * featureCount,
          labels: labels.baseAddress! + row * batch.targetCount)
      }
      row += 1
    }
    batch.count = row
  }
}

internal import Buffers

/// A data set whose last training samples stand for the test samples.
///
/// Settings are chosen on them, so that nothing is chosen on the test samples, which are not read. Inputs are standardised as before, over
/// all training samples.
final class HeldOutDataset: Dataset {
  private let whole: any Dataset
  private let heldOutCount: Int

  var specification: String { whole.specification }
  var featureCount: Int { whole.featureCount }
  var kind: SampleForm.Kind { whole.kind }
  var classCount: Int { whole.classCount }
  let fingerprint: UInt64

  /// `whole` without its last `count` training samples, which become the test samples; they must leave some to train on.
  init(_ whole: any Dataset, count: Int) throws(DataError) {
    let trainCount = whole.count(.train)
    guard count < trainCount else {
      throw DataError(
        "'\(whole.specification)': held-out=\(count) leaves no training samples of \(trainCount); hold out fewer")
    }
    (self.whole, heldOutCount) = (whole, count)
    fingerprint = combinedHash([whole.fingerprint, UInt64(count)])
  }

  func count(_ split: Split) -> Int { split == .test ? heldOutCount : whole.count(.train) - heldOutCount }

  func label(_ index: Int, of split: Split) -> Int { whole.label(place(index, of: split), of: .train) }

  func read(
    _ index: Int, of split: Split, variation: Philox?, into inputs: UnsafeMutablePointer<Float>,
    labels: UnsafeMutablePointer<Int32>
  ) {
    whole.read(
      place(index, of: split), of: .train, variation: split == .test ? nil : variation, into: inputs, labels: labels)
  }

  /// The place of a sample among all training samples.
  private func place(_ index: Int, of split: Split) -> Int { split == .test ? count(.train) + index : index }
}

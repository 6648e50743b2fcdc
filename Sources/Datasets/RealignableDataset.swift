/// A data set of utterances whose labels follow from an alignment of states to frames, which a trained model can improve.
///
/// What was spoken is known and fixed; which frames belong to which part of it is at first a guess. The data set itself never
/// changes: the trainer keeps the new labels and uses them instead of those that ``Dataset/read(_:of:variation:into:labels:)`` returns.
/// Source: Seide et al. 2014, realignment between passes; algorithms §1.11.
public protocol RealignableDataset: Dataset {
  /// The samples of each utterance of a split, one utterance after another; together they are the whole split.
  func frames(ofUtterances split: Split) -> [Range<Int>]

  /// The most likely labels of an utterance's frames under a model, given what was spoken.
  ///
  /// - Parameters:
  ///   - utterance: Its number in its split.
  ///   - split: The part of the data.
  ///   - logPosteriors: By rows, `classCount` natural logarithms for each frame of the utterance.
  ///   - logPriors: The natural logarithm of each class's share of the training labels.
  /// - Returns: a label for each frame; nil if the utterance is too short to be aligned, and keeps its labels.
  func align(
    _ utterance: Int, of split: Split, logPosteriors: UnsafeBufferPointer<Float>, logPriors: [Double]
  ) -> [Int]?
}

/// A data set of utterances whose labels follow from an alignment of states to frames, which a trained model can improve.
///
/// What was spoken is known and stays; which frames belong to which part of it is a guess at first. The data set itself never
/// changes: whoever trains keeps the new labels and uses them in the place of those that ``Dataset/read(_:of:into:)`` returns.
/// Source: Seide et al. 2014, realignment between passes; algorithms §1.11.
public protocol RealignableDataset: Dataset {
  /// The samples of each utterance of a split, one utterance after another; together they are the split.
  func frames(ofUtterances split: Split) -> [Range<Int>]

  /// The labels of an utterance's frames that a model holds for most likely, given what was spoken.
  ///
  /// - Parameters:
  ///   - utterance: Its number among those of its split.
  ///   - split: The part of the data.
  ///   - logPosteriors: By rows, a row for each frame of the utterance, `classCount` natural logarithms in each.
  ///   - logPriors: The natural logarithm of each class's share of the training labels.
  /// - Returns: a label for each frame; nil where the utterance is too short to be aligned, and keeps its labels.
  func align(
    _ utterance: Int, of split: Split, logPosteriors: UnsafeBufferPointer<Float>, logPriors: [Double]
  ) -> [Int]?
}

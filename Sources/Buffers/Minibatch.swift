/// The samples that one rank processes in one step: inputs by rows, and a class for each.
public final class Minibatch {
  /// `capacity` × `featureCount` values by rows; the first `count` rows are in use.
  public let inputs: FloatBuffer
  /// The class of each sample, `capacity` entries.
  public var labels: [Int32]
  /// The number of values of a sample.
  public let featureCount: Int
  /// The number of samples in use.
  public var count = 0

  /// A minibatch with room for `capacity` samples.
  public init(capacity: Int, featureCount: Int) {
    inputs = FloatBuffer(count: capacity * featureCount)
    labels = Array(repeating: 0, count: capacity)
    self.featureCount = featureCount
  }

  /// The number of samples there is room for.
  public var capacity: Int { labels.count }
}

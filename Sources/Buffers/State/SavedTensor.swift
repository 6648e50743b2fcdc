/// Which ranks hold a saved tensor, and what becomes of it when another number of ranks goes on.
public enum StatePlacement: Hashable, Sendable {
  /// Every rank (of a slice of the model) holds the same bits; the lowest of them saves it.
  case replicated
  /// Every rank holds its own values, as long as the flat buffer, and what counts is their sum over the ranks.
  ///
  /// Of K ranks that saved it, rank *j* of K′ takes the sum, in rank order, of those of the ranks *i* with *i* mod K′ = *j*.
  case summed
  /// Every rank holds its own values, which are about 1/K of their sum: each of K′ ranks takes an equal share of that.
  case equalShare
  /// A rank holds these ranges of one flat vector, one after another; the vector is cut anew for other ranks.
  case owned([Range<Int>])
  /// Every rank holds its own values, which mean nothing to another number of ranks: they begin with zeros there.
  case local
}

/// Floats that influence the next step, under the name by which files know them.
///
/// The memory stays where it is: saving reads it, resuming writes it.
public struct SavedTensor {
  /// For example `weights.3`, `residual` or `momentum`.
  public let name: String
  /// Its extents, the last one running fastest.
  public let shape: [Int]
  /// Which ranks hold it.
  public let placement: StatePlacement
  /// Whether it is what was not sent yet of a mean over the minibatch: it keeps its effect if it shrinks as the minibatch grows.
  public let isShareOfMean: Bool
  /// In a file: the extents of the tensor that the values are part of, and the number of its values before them.
  package let place: (shape: [Int], start: Int)
  /// The values, in the memory of their user.
  public let values: UnsafeMutableBufferPointer<Float>
  /// Keeps the memory alive.
  private let buffer: FloatBuffer

  /// The values `range` of `buffer`, all of them if no range is given.
  ///
  /// - Parameters:
  ///   - name: Its name.
  ///   - placement: Which ranks hold it.
  ///   - isShareOfMean: Whether it shrinks as the minibatch grows.
  ///   - shape: Its extents; a vector if none are given.
  ///   - buffer: Where the values lie.
  ///   - range: Where in the buffer.
  ///   - place: The extents of the tensor in a file that the values are part of, and where they begin in it; the tensor itself if it
  ///     is nil.
  public init(
    _ name: String, _ placement: StatePlacement = .replicated, isShareOfMean: Bool = false, shape: [Int]? = nil,
    of buffer: FloatBuffer, range: Range<Int>? = nil, in place: (shape: [Int], start: Int)? = nil
  ) {
    let range = range ?? 0..<buffer.count
    let shape = shape ?? [range.count]
    precondition(shape.reduce(1, *) == range.count, "\(name): the shape \(shape) has not \(range.count) values")
    (self.name, self.placement, self.isShareOfMean, self.shape) = (name, placement, isShareOfMean, shape)
    self.place = place ?? (shape, 0)
    self.buffer = buffer
    values = unsafe buffer.values(in: range)
  }

  private init(_ name: String, of other: SavedTensor) {
    (self.name, shape, place, buffer) = (name, other.shape, other.place, other.buffer)
    (placement, isShareOfMean) = (other.placement, other.isShareOfMean)
    values = unsafe other.values
  }

  /// The same memory under another name.
  package func renamed(_ name: String) -> SavedTensor { SavedTensor(name, of: self) }

  /// As many zeros in memory of their own, under the same name.
  package func emptyCopy() -> SavedTensor {
    SavedTensor(name, placement, isShareOfMean: isShareOfMean, shape: shape, of: FloatBuffer(count: values.count))
  }
}

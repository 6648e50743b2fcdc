/// Which ranks hold a saved tensor, and how it is restored on a different number of ranks.
public enum StatePlacement: Hashable, Sendable {
  /// Every rank (of a slice of the model) holds the same bits; the lowest of them saves it.
  case replicated
  /// Every rank holds its own values, of the same length as the flat buffer; what counts is their sum over the ranks.
  ///
  /// If K ranks saved it, rank *j* of K′ takes the sum, in rank order, of those of the ranks *i* with *i* mod K′ = *j*.
  case summed
  /// Every rank holds its own values, which are about 1/K of their sum: each of K′ ranks takes an equal share of the sum.
  case equalShare
  /// A rank holds these ranges of one flat vector, one after another; the vector is cut anew for a different number of ranks.
  case owned([Range<Int>])
  /// Every rank holds its own values, which are meaningless on a different number of ranks: they start at zero there.
  case local
}

/// Floats that influence the next step, with their name in files.
///
/// They are used in place: saving reads the memory, resuming writes it.
public struct SavedTensor {
  /// For example `layers.3.weight`, `residual` or `momentum`.
  public let name: String
  /// Its dimensions, the last one varying fastest.
  public let shape: [Int]
  /// Which ranks hold it.
  public let placement: StatePlacement
  /// Whether it is the unsent part of a mean over the minibatch: to keep its effect, it must shrink as the minibatch grows.
  public let isShareOfMean: Bool
  /// Whether workers keep it for themselves: it has no meaning for another number of them.
  package let isOfWorkers: Bool
  /// In a file: the shape of the tensor that the values are part of, and the number of its values before them.
  package let place: (shape: [Int], start: Int)
  /// The values, in the memory of the component that uses them.
  public let values: UnsafeMutableBufferPointer<Float>
  /// Keeps the memory alive.
  private let buffer: FloatBuffer

  /// The values `range` of `buffer`; all of them if no range is given.
  ///
  /// - Parameters:
  ///   - name: Its name.
  ///   - placement: Which ranks hold it.
  ///   - isShareOfMean: Whether it shrinks as the minibatch grows.
  ///   - shape: Its dimensions; a vector if none are given.
  ///   - buffer: The buffer that holds the values.
  ///   - range: Their range in the buffer.
  ///   - place: The shape of the tensor in a file that the values are part of, and where they start in it; nil if they are the
  ///     whole tensor.
  public init(
    _ name: String, _ placement: StatePlacement = .replicated, isShareOfMean: Bool = false, shape: [Int]? = nil,
    of buffer: FloatBuffer, range: Range<Int>? = nil, in place: (shape: [Int], start: Int)? = nil
  ) {
    let range = range ?? 0..<buffer.count
    let shape = shape ?? [range.count]
    require(shape.reduce(1, *) == range.count, "\(name): the shape \(shape) has not \(range.count) values")
    (self.name, self.placement, self.isShareOfMean, self.shape) = (name, placement, isShareOfMean, shape)
    isOfWorkers = false
    self.place = place ?? (shape, 0)
    self.buffer = buffer
    values = buffer.values(in: range)
  }

  private init(_ name: String, of other: SavedTensor, isOfWorkers: Bool) {
    self.isOfWorkers = isOfWorkers
    (self.name, shape, place, buffer) = (name, other.shape, other.place, other.buffer)
    (placement, isShareOfMean) = (other.placement, other.isShareOfMean)
    values = other.values
  }

  /// The same memory under another name.
  package func renamed(_ name: String) -> SavedTensor { SavedTensor(name, of: self, isOfWorkers: isOfWorkers) }

  /// The same memory as what a worker keeps for itself, called `worker.` and this in files, or with the worker's number before it.
  package func ofWorkers(_ worker: Int? = nil) -> SavedTensor {
    SavedTensor(StateInventory.name(name, ofWorker: worker), of: self, isOfWorkers: true)
  }

  /// The values `range` of a flat vector, of which this rank owns that part.
  package func owned(_ range: Range<Int>) -> SavedTensor { SavedTensor(name, .owned([range]), of: buffer, range: range) }

  /// A tensor of the same name and size, with zeros in its own memory.
  package func emptyCopy() -> SavedTensor {
    let empty = SavedTensor(name, placement, isShareOfMean: isShareOfMean, shape: shape, of: FloatBuffer(count: values.count))
    return SavedTensor(name, of: empty, isOfWorkers: isOfWorkers)
  }
}

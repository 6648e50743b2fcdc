public import Buffers

/// Floats that influence the next step, under the name by which files know them.
///
/// The memory stays where it is: saving reads it, resuming writes it.
public struct SavedTensor {
  /// For example `weights.3`, `residual` or `momentum`.
  public let name: String
  /// Its extents, the last one running fastest.
  public let shape: [Int]
  /// In a file: the extents of the tensor that the values are part of, and the number of its values before them.
  let place: (shape: [Int], start: Int)
  /// The values, in the trainer's own memory.
  public let values: UnsafeMutableBufferPointer<Float>
  /// Keeps the memory alive.
  private let buffer: FloatBuffer

  /// The values `range` of `buffer`, all of them where no range is given.
  ///
  /// - Parameters:
  ///   - name: Its name.
  ///   - shape: Its extents; a vector where none are given.
  ///   - buffer: Where the values lie.
  ///   - range: Where in the buffer.
  ///   - place: The extents of the tensor in a file that the values are part of, and where they begin in it; the tensor itself
  ///     where it is nil.
  public init(
    _ name: String, shape: [Int]? = nil, of buffer: FloatBuffer, range: Range<Int>? = nil,
    in place: (shape: [Int], start: Int)? = nil
  ) {
    let range = range ?? 0..<buffer.count
    let shape = shape ?? [range.count]
    precondition(shape.reduce(1, *) == range.count, "\(name): the shape \(shape) has not \(range.count) values")
    self.name = name
    self.shape = shape
    self.place = place ?? (shape, 0)
    self.buffer = buffer
    values = unsafe buffer.values(in: range)
  }

  private init(_ name: String, of other: SavedTensor) {
    (self.name, shape, place, buffer) = (name, other.shape, other.place, other.buffer)
    values = unsafe other.values
  }

  /// The same memory under another name.
  func renamed(_ name: String) -> SavedTensor { SavedTensor(name, of: self) }
}

/// Everything that influences the next step, in one list: what is not here is not state.
///
/// Source: design §3.6. Random numbers need no entry: they follow from the seed and the step.
public struct StateInventory {
  /// The number of stripes that each model is in, of which this rank, as one of P, holds that number r mod P.
  public var stripeCount = 1
  /// The parameters, by tensor, in part where the model is in stripes; rank 0 alone saves them, and must have all.
  public var model: [SavedTensor] = []
  /// What every rank of a stripe has the same bits of beside the model (optimizer state); the lowest of them saves it.
  public var replicated: [SavedTensor] = []
  /// What this rank alone has.
  ///
  /// Names and meanings: `residual`, of the length of the flat buffer, and `ownerResidual`, which is
  /// cut by stripes and lies at `ownedRanges` of the flat buffer. At another number of ranks the sum of the residuals is
  /// conserved and the owner residuals, laid end to end, are cut anew. AdaGrad's `ownerAdaGrad` is cut as they are; of its
  /// `partialAdaGrad`, every rank takes an equal share of the sum: a gradient over 1/K of the samples has about 1/K of the squares.
  public var own: [SavedTensor] = []
  /// The values of the flat buffer that this rank owns, ascending.
  public var ownedRanges: [Range<Int>] = []
  /// Numbers that all ranks share, as text, for example `step` and `warmStart`.
  public var counters: [String: String] = [:]
  /// Numbers of this rank alone, as text; at another number of ranks they start afresh.
  public var ownCounters: [String: String] = [:]

  /// An empty list.
  public init() {}

  /// The number of bytes that this rank would save.
  public func byteCount(rank: Int) -> Int {
    let tensors = (rank == 0 ? model : []) + (rank < stripeCount ? replicated : []) + own
    return tensors.reduce(0) { $0 + $1.values.count * 4 }
  }
}

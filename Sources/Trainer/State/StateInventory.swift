public import Buffers

/// Floats that influence the next step, under the name by which files know them.
///
/// The memory stays where it is: saving reads it, resuming writes it.
public struct SavedTensor {
  /// For example `weights.3`, `residual` or `momentum`.
  public let name: String
  /// Its extents, the last one running fastest.
  public let shape: [Int]
  /// The values, in the trainer's own memory.
  public let values: UnsafeMutableBufferPointer<Float>
  /// Keeps the memory alive.
  private let buffer: FloatBuffer

  /// The values `range` of `buffer`, all of them where no range is given.
  public init(_ name: String, shape: [Int]? = nil, of buffer: FloatBuffer, range: Range<Int>? = nil) {
    let range = range ?? 0..<buffer.count
    let shape = shape ?? [range.count]
    precondition(shape.reduce(1, *) == range.count, "\(name): the shape \(shape) has not \(range.count) values")
    self.name = name
    self.shape = shape
    self.buffer = buffer
    values = unsafe buffer.values(in: range)
  }

  private init(_ name: String, of other: SavedTensor) {
    (self.name, shape, buffer) = (name, other.shape, other.buffer)
    values = unsafe other.values
  }

  /// The same memory under another name.
  func renamed(_ name: String) -> SavedTensor { SavedTensor(name, of: self) }
}

/// Everything that influences the next step, in one list: what is not here is not state.
///
/// Source: design §3.6. Random numbers need no entry: they follow from the seed and the step.
public struct StateInventory {
  /// The parameters, by tensor; the same bits on every rank, so rank 0 alone saves them.
  public var model: [SavedTensor] = []
  /// What every rank has the same bits of beside the model (optimizer state); rank 0 alone saves it.
  public var replicated: [SavedTensor] = []
  /// What this rank alone has.
  ///
  /// Names and meanings: `residual`, of the length of the flat buffer, and `ownerResidual`, which is
  /// cut by stripes and lies at `ownedRange` of the flat buffer. At another number of ranks the sum of the residuals is
  /// conserved and the owner residuals, laid end to end, are cut anew.
  public var own: [SavedTensor] = []
  /// The stripe that this rank owns.
  public var ownedRange: Range<Int> = 0..<0
  /// Numbers that all ranks share, as text, for example `step` and `warmStart`.
  public var counters: [String: String] = [:]
  /// Numbers of this rank alone, as text; at another number of ranks they start afresh.
  public var ownCounters: [String: String] = [:]

  /// An empty list.
  public init() {}

  /// The number of bytes that this rank would save.
  public func byteCount(rank: Int) -> Int {
    let tensors = (rank == 0 ? model + replicated : []) + own
    return tensors.reduce(0) { $0 + $1.values.count * 4 }
  }
}

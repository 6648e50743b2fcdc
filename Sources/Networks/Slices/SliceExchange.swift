public import Buffers

/// How the slices of a network access one another's activations and their deltas.
///
/// A pass over a minibatch begins and ends on all slices alike. In between, a slice writes each slot at most once, publishes
/// it, and reads blocks that the others have published, which stay unchanged until the end of the pass. Networks know nothing
/// else of other ranks.
public protocol SliceExchange: AnyObject {
  /// The number of this slice.
  var slice: Int { get }
  /// The number of slices.
  var sliceCount: Int { get }

  /// Makes room for these slots and for `sampleCount` samples; previous contents are lost.
  ///
  /// Called outside of passes, on all slices alike.
  func reserve(_ slots: [BlockSlot], sampleCount: Int) throws
  /// Begins a pass over `sampleCount` samples, the same on all slices.
  func begin(sampleCount: Int) throws
  /// Where this slice writes a slot.
  func values(of slot: Int) -> UnsafeMutablePointer<Float>
  /// Lets the other slices read what this one has written to a slot.
  func publish(_ slot: Int) throws
  /// The block of a slot that comes from `slice`, once it has arrived; it stays until the pass ends.
  func block(_ slot: Int, from slice: Int) throws -> UnsafePointer<Float>
  /// Ends the pass: this slice no longer reads anything of it.
  func end() throws
}

/// A network of which this rank holds one slice.
///
/// Collective over the ranks of all slices, with the same samples; all get the same loss.
public protocol SlicedNetwork: Network {
  /// The layout of the whole network, and how it is cut; ``Network/layout`` is that of this slice.
  var slices: SlicedLayout { get }
  /// What the slices exchange in a pass: the outputs of each layer from the input on, then the deltas of the inputs of each
  /// layer but the lowest, in the same order.
  var slots: [BlockSlot] { get }
  /// The bytes that this slice sends to others for each sample, from the layer sizes alone: forward, and backward.
  var bytesPerSample: (forward: Int, backward: Int) { get }
  /// The bytes that this slice must have sent to others for the samples seen so far.
  var predictedBytesSent: Int { get }
}

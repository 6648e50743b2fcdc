public import Buffers

/// How the stripes of a network reach one another's activations, and the deltas of them.
///
/// A pass over a minibatch begins and ends on all stripes alike. In between, a stripe writes each slot at most once, publishes
/// it, and reads blocks of what the others have published, which stay as they are to the end of the pass. Networks know no more
/// of other ranks than this.
public protocol StripeExchange: AnyObject {
  /// The number of this stripe.
  var stripe: Int { get }
  /// The number of stripes.
  var stripeCount: Int { get }

  /// Makes room for these slots and for as many samples; what they held is lost.
  ///
  /// Called outside of passes, on all stripes alike.
  func reserve(_ slots: [BlockSlot], sampleCount: Int) throws
  /// Begins a pass over `sampleCount` samples, the same on all stripes.
  func begin(sampleCount: Int) throws
  /// Where this stripe writes a slot.
  func values(of slot: Int) -> UnsafeMutablePointer<Float>
  /// Lets the other stripes read what this one has written to a slot.
  func publish(_ slot: Int) throws
  /// The block of a slot that comes from `stripe`, once it is there; it stays until the pass ends.
  func block(_ slot: Int, from stripe: Int) throws -> UnsafePointer<Float>
  /// Ends the pass: this stripe reads nothing of it any more.
  func end() throws
}

/// A network of which this rank holds one stripe.
///
/// Its calls are made by the ranks of all stripes together, with the same samples; all get the same loss.
public protocol StripedNetwork: Network {
  /// The layout of the whole network, and how it is cut; ``Network/layout`` is that of this stripe.
  var stripes: StripedLayout { get }
  /// What the stripes exchange in a pass: the outputs of each layer from the input on, then the deltas of the inputs of each
  /// layer but the lowest, in the same order.
  var slots: [BlockSlot] { get }
  /// The bytes that go from this stripe to others for each sample, by the sizes of the layers alone: forward, and backward.
  var bytesPerSample: (forward: Int, backward: Int) { get }
  /// The bytes that this stripe must have sent to others for the samples seen so far.
  var predictedBytesSent: Int { get }
}

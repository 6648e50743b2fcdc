internal import Buffers
internal import Collectives
internal import Networks

#if canImport(Glibc)
  internal import Glibc
#endif

/// Sleeps as long as a model would compute, so that many ranks can share few cores.
///
/// The time is cut into the products of a multi-layer perceptron: one of each weight matrix forward, and two backward, save that
/// the first layer passes nothing on. A product takes time in proportion to its matrix. Between two of them an exchange may be carried
/// on, gradients become ready as in a backward pass, and the stripes of a model really exchange their blocks. A rank that wakes late does not go on late: it would have a core of its own.
struct EmulatedCompute {
  /// The blocks that the stripes of a model exchange.
  struct Blocks {
    let exchange: BlockExchange
    let sampleCount: Int
    private let slots: [BlockSlot]

    /// Makes room for the blocks of passes over `sampleCount` samples.
    ///
    /// Collective among the stripes.
    init(_ network: any StripedNetwork, sampleCount: Int, over exchange: BlockExchange) throws {
      self.exchange = exchange
      self.sampleCount = sampleCount
      slots = network.slots
      try exchange.reserve(slots, sampleCount: sampleCount)
    }

    /// Waits for what the other stripes have published in a slot.
    func receive(_ slot: Int) throws {
      for (source, columns) in slots[slot].incoming.enumerated() where !columns.isEmpty {
        _ = try exchange.block(slot, from: source)
      }
    }
  }

  /// Seconds of a pass forward and backward.
  let seconds: Double
  private let blocks: Blocks?
  /// The weight matrices, in backward order.
  private let matrices: [Int]
  /// The seconds of one product of each tensor; 0 for biases.
  private let products: [Double]

  init(_ layout: TensorLayout, seconds: Double, blocks: Blocks? = nil) {
    self.seconds = seconds
    self.blocks = blocks
    let matrices = layout.tensors.indices.filter { layout.tensors[$0].shape.count > 1 }
    self.matrices = matrices
    let sizes = layout.tensors.map { $0.shape.count > 1 ? $0.range.count : 0 }
    let work = matrices.reduce(0) { $0 + ($1 == matrices.last ? 2 : 3) * sizes[$1] }
    products = sizes.map { work > 0 ? seconds * Double($0) / Double(work) : 0 }
  }

  /// Sleeps for one pass.
  ///
  /// - Parameters:
  ///   - interlude: Called between products; its time comes on top, as does that of exchanging blocks.
  ///   - ready: Called with the index of a tensor where its gradient would be final.
  func run(interlude: (() -> Void)?, ready: (_ tensor: Int) -> Void) throws {
    var deadline = ContinuousClock.now
    func product(of tensor: Int) {
      deadline += .seconds(products[tensor])
      sleep(until: deadline)
    }
    func onTop(_ action: () throws -> Void) rethrows {
      let start = ContinuousClock.now
      try action()
      deadline += .now - start
    }
    func rest() { if let interlude { onTop(interlude) } }
    func share(_ slot: Int) throws { if let blocks { try onTop { try blocks.exchange.publish(slot) } } }
    func receive(_ slot: Int) throws { if let blocks { try onTop { try blocks.receive(slot) } } }

    if let blocks { try onTop { try blocks.exchange.begin(sampleCount: blocks.sampleCount) } }
    for (layer, tensor) in matrices.reversed().enumerated() {
      product(of: tensor)
      try share(layer)
      rest()
      try receive(layer)
    }
    for tensor in products.indices {
      // From the input on; slots of deltas follow those of outputs, and the lowest layer has none.
      let layer = matrices.firstIndex(of: tensor).map { matrices.count - 1 - $0 } ?? 0
      let deltas = layer > 0 ? matrices.count + layer - 1 : nil
      // Stripes share deltas first, so that they travel while the gradient of the weights is computed.
      if let deltas, blocks != nil {
        product(of: tensor)
        try share(deltas)
        rest()
      }
      product(of: tensor)
      ready(tensor)
      guard let deltas else { continue }
      rest()
      if blocks != nil { try receive(deltas) } else { product(of: tensor) }
      rest()
    }
    if let blocks { try onTop { try blocks.exchange.end() } }
  }

  private func sleep(until deadline: ContinuousClock.Instant) {
    let seconds = (deadline - .now) / .seconds(1)
    if seconds > 0 { usleep(UInt32(seconds * 1e6)) }
  }
}

internal import Buffers
internal import Collectives
internal import Networks
import Transport

#if canImport(Glibc)
  internal import Glibc
#endif

/// Sleeps for as long as a model would compute, so that many ranks can share few cores.
///
/// The time is divided into the products of a multi-layer perceptron: one for each weight matrix forward, and two backward,
/// except that the first layer passes nothing on. A product takes time in proportion to its matrix. Between two products an
/// exchange may make progress, gradients become ready as in a backward pass, and the slices of a model really exchange their
/// blocks. A rank that wakes late does not stay late: it would have its own core.
struct EmulatedCompute {
  /// The blocks that the slices of a model exchange.
  struct Blocks {
    let exchange: BlockExchange
    let sampleCount: Int
    private let slots: [BlockSlot]

    /// Reserves space for the blocks of passes over `sampleCount` samples.
    ///
    /// Collective among the slices.
    init(_ network: any SlicedNetwork, sampleCount: Int, over exchange: BlockExchange) throws {
      self.exchange = exchange
      self.sampleCount = sampleCount
      slots = network.slots
      try exchange.reserve(slots, sampleCount: sampleCount)
    }

    /// Waits for what the other slices publish in a slot.
    func receive(_ slot: Int) throws {
      for (source, columns) in slots[slot].incoming.enumerated() where !columns.isEmpty {
        _ = try exchange.block(slot, from: source)
      }
    }
  }

  /// Seconds of a forward and backward pass.
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
  ///   - betweenLayers: Called between products; its time is added, as is that of exchanging blocks.
  ///   - ready: Called with the index of a tensor when its gradient would be final.
  func run(betweenLayers: (() -> Void)?, ready: (_ tensor: Int) -> Void) throws {
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
    func rest() { if let betweenLayers { onTop(betweenLayers) } }
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
      // Slices share deltas first, so that they are in transit while the gradient of the weights is computed.
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

internal import Buffers

#if canImport(Glibc)
  internal import Glibc
#endif

/// Sleeps as long as a model would compute, so that many ranks can share few cores.
///
/// The time is cut into the products of a multi-layer perceptron: one of each weight matrix forward, and two backward, save that
/// the first layer passes nothing on. A product takes time in proportion to its matrix. Between two of them an exchange may be carried
/// on, and gradients become ready as in a backward pass. A rank that wakes late does not go on late: it would have a core of its own.
struct EmulatedCompute {
  /// Seconds of a pass forward and backward.
  let seconds: Double
  private let layout: TensorLayout
  /// The seconds of one product of each tensor; 0 for biases.
  private let products: [Double]

  init(_ layout: TensorLayout, seconds: Double) {
    self.layout = layout
    self.seconds = seconds
    let sizes = layout.tensors.map { $0.shape.count > 1 ? $0.range.count : 0 }
    // Backward order: the first layer comes last.
    let first = sizes.lastIndex { $0 > 0 }
    let work = sizes.enumerated().reduce(0) { $0 + ($1.offset == first ? 2 : 3) * $1.element }
    products = sizes.map { work > 0 ? seconds * Double($0) / Double(work) : 0 }
  }

  /// Sleeps for one pass.
  ///
  /// - Parameters:
  ///   - interlude: Called between products; its time comes on top.
  ///   - ready: Called with the index of a tensor where its gradient would be final.
  func run(interlude: (() -> Void)?, ready: (_ tensor: Int) -> Void) {
    var deadline = ContinuousClock.now
    func product(of tensor: Int) {
      deadline += .seconds(products[tensor])
      sleep(until: deadline)
    }
    func rest() {
      guard let interlude else { return }
      let start = ContinuousClock.now
      interlude()
      deadline += .now - start
    }
    let weights = products.indices.filter { products[$0] > 0 }
    for tensor in weights.reversed() {
      product(of: tensor)
      rest()
    }
    for tensor in products.indices {
      product(of: tensor)
      ready(tensor)
      guard products[tensor] > 0, tensor != weights.last else { continue }
      rest()
      product(of: tensor)
      rest()
    }
  }

  private func sleep(until deadline: ContinuousClock.Instant) {
    let seconds = (deadline - .now) / .seconds(1)
    if seconds > 0 { usleep(UInt32(seconds * 1e6)) }
  }
}

internal import Buffers

/// What layers work on in one pass over a minibatch: parameters and gradient, and memory that is kept from one pass to the next.
///
/// Memory is allocated for the largest minibatch seen, once for all layers.
package final class Pass {
  /// What a pass is for.
  enum Mode {
    /// A gradient of samples that stand at this place of a run; nil if they stand at none, and nothing is random.
    case training(MinibatchOrigin?)
    /// Predictions.
    case evaluation
  }

  private let layout: TensorLayout
  /// The place of each declared tensor in the layout.
  private let places: [Int]
  private let outputCounts: [Int]
  /// What normalizations keep of the batches; nil if there are none.
  let statistics: RunningStatistics?
  /// The number of samples there is room for.
  private var capacity = 0
  private var outputs: [FloatBuffer] = []
  /// Memory for gradients of the outputs and inputs of layers: two in turn, and one more for each that is held.
  private var gradients: [FloatBuffer] = []
  private var heldGradients: [UnsafeMutablePointer<Float>] = []
  private var scratchMemory = ByteBuffer(count: 0)

  /// What the pass is for.
  private(set) var mode = Mode.evaluation
  /// The number of samples.
  private(set) var sampleCount = 0
  private var parameters = FloatBuffer(count: 0)
  private var gradient: FloatBuffer?
  private var report: ((_ tensor: Int) -> Void)?
  /// Called between two layers.
  private(set) var betweenLayers: (() -> Void)?

  /// Passes of layers with this plan.
  init(_ plan: Plan, layout: TensorLayout, places: [Int]) {
    (self.layout, self.places, outputCounts) = (layout, places, plan.outputCounts)
    statistics = RunningStatistics(plan)
  }

  /// Begins a pass with these parameters.
  func begin(_ mode: Mode, sampleCount: Int, parameters: FloatBuffer, betweenLayers: (() -> Void)?) {
    (self.mode, self.sampleCount, self.parameters, self.betweenLayers) = (mode, sampleCount, parameters, betweenLayers)
    heldGradients = []
    if case .training = mode { statistics?.begin(sampleCount: sampleCount) }
    guard sampleCount > capacity else { return }
    capacity = sampleCount
    outputs = outputCounts.map { FloatBuffer(count: sampleCount * $0) }
    gradients = []
  }

  /// Runs `body`, a backward pass into `gradient` that reports each tensor, by its place in the layout, to `report`.
  func withGradient(_ gradient: FloatBuffer, report: (_ tensor: Int) -> Void, _ body: () throws -> Void) rethrows {
    try withoutActuallyEscaping(report) { report in
      (self.gradient, self.report) = (gradient, report)
      defer { (self.gradient, self.report) = (nil, nil) }
      try body()
    }
  }

  /// The parameters of a tensor.
  func parameters(of tensor: Plan.Tensor) -> UnsafePointer<Float> {
    UnsafePointer(parameters.baseAddress + layout.tensors[places[tensor.number]].range.lowerBound)
  }

  /// The gradient of a tensor, to be set.
  func gradient(of tensor: Plan.Tensor) -> UnsafeMutablePointer<Float> {
    guard let gradient else { fatalError("a layer writes a gradient outside of a backward pass") }
    return gradient.baseAddress + layout.tensors[places[tensor.number]].range.lowerBound
  }

  /// Says that the gradients of `tensors` are final.
  func ready(_ tensors: Plan.Tensor...) {
    for tensor in tensors { report?(places[tensor.number]) }
  }

  /// The memory of a layer's outputs.
  func outputs(_ output: Plan.Output) -> UnsafeMutablePointer<Float> { outputs[output.number].baseAddress }

  /// Memory for the gradient of a layer's inputs, which is not that of `outputGradient`, the gradient of its outputs, nor held.
  func inputGradient(besides outputGradient: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Float> {
    if let free = gradients.first(where: {
      $0.baseAddress != outputGradient && !heldGradients.contains($0.baseAddress)
    }) {
      return free.baseAddress
    }
    gradients.append(FloatBuffer(count: capacity * (outputCounts.max() ?? 0)))
    return gradients[gradients.count - 1].baseAddress
  }

  /// Keeps a gradient as it is while `body` goes backward through other layers.
  func holding<Result>(_ gradient: UnsafeMutablePointer<Float>, _ body: () throws -> Result) rethrows -> Result {
    heldGradients.append(gradient)
    defer { heldGradients.removeLast() }
    return try body()
  }

  /// Memory of `byteCount` bytes, aligned to a cache line, for the duration of a call.
  func scratch(_ byteCount: Int) -> UnsafeMutableRawPointer {
    if byteCount > scratchMemory.count { scratchMemory = ByteBuffer(count: byteCount) }
    return scratchMemory.baseAddress
  }
}

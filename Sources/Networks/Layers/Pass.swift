internal import Buffers

/// What layers work on in one pass over a minibatch: parameters and gradient, and memory that is kept from one pass to the next.
///
/// Memory is allocated for the largest minibatch seen, once for all layers.
package final class Pass {
  private let layout: TensorLayout
  /// The place of each declared tensor in the layout.
  private let places: [Int]
  private let outputCounts: [Int]
  /// The number of samples there is room for.
  private var capacity = 0
  private var outputs: [FloatBuffer] = []
  /// The gradients of the outputs of a layer and of its inputs, in turn.
  private var gradients: [FloatBuffer] = []
  private var scratchMemory = ByteBuffer(count: 0)

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
  }

  /// Begins a pass with these parameters.
  func begin(sampleCount: Int, parameters: FloatBuffer, betweenLayers: (() -> Void)?) {
    (self.sampleCount, self.parameters, self.betweenLayers) = (sampleCount, parameters, betweenLayers)
    guard sampleCount > capacity else { return }
    capacity = sampleCount
    outputs = outputCounts.map { FloatBuffer(count: sampleCount * $0) }
    let largest = outputCounts.max() ?? 0
    gradients = (0..<2).map { _ in FloatBuffer(count: sampleCount * largest) }
  }

  /// Runs `body`, a backward pass into `gradient` that reports each tensor, by its place in the layout, to `report`.
  func withGradient(_ gradient: FloatBuffer, report: (_ tensor: Int) -> Void, _ body: () -> Void) {
    withoutActuallyEscaping(report) { report in
      (self.gradient, self.report) = (gradient, report)
      body()
      (self.gradient, self.report) = (nil, nil)
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

  /// Memory for the gradient of a layer's inputs, which is not that of `outputGradient`, the gradient of its outputs.
  func inputGradient(besides outputGradient: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Float> {
    gradients[0].baseAddress == outputGradient ? gradients[1].baseAddress : gradients[0].baseAddress
  }

  /// Memory of `byteCount` bytes, aligned to a cache line, for the duration of a call.
  func scratch(_ byteCount: Int) -> UnsafeMutableRawPointer {
    if byteCount > scratchMemory.count { scratchMemory = ByteBuffer(count: byteCount) }
    return scratchMemory.baseAddress
  }
}

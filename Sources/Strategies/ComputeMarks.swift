internal import Networks
internal import Reporting

/// Splits the passes of a network into pieces for a timeline, at its calls between layers and as tensors become final.
///
/// Pieces before the first final tensor are the forward pass, layer by layer; a piece that ends with a tensor is that tensor's
/// gradient, and one that ends between layers is the gradient of activations.
final class ComputeMarks {
  /// Anything shorter is not work, but the time between two calls of the network.
  private static let shortest = Duration.microseconds(2)

  private let timeline: Timeline
  private var start = ContinuousClock.now
  private var layer = 0
  private var isBackward = false

  /// Begins the forward pass.
  init(_ timeline: Timeline) { self.timeline = timeline }

  /// Called between two layers; runs `body`.
  func betweenLayers(_ body: (() -> Void)?) {
    let end = ContinuousClock.now
    if !isBackward {
      layer += 1
      timeline.noteCompute("forward layer", number: layer, from: start, to: end)
    } else if end - start > ComputeMarks.shortest {
      timeline.noteCompute("backward activations", from: start, to: end)
    }
    body?()
    start = .now
  }

  /// Called when the gradient of `tensor` is final.
  func ready(_ tensor: Int) {
    isBackward = true
    let end = ContinuousClock.now
    timeline.noteCompute("backward", tensor: tensor, from: start, to: end)
    start = end
  }
}

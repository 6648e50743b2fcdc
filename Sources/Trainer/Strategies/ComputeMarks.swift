internal import Networks
internal import Reporting

/// Cuts the passes of a network into pieces for a timeline, where the network calls between its layers and as tensors become final.
///
/// What comes before the first final tensor is the forward pass, layer by layer; the piece that ends with a tensor is that tensor's
/// gradient, and the one that ends between layers is the gradient of activations.
final class ComputeMarks {
  /// Less is no work, but the way from a call of the network to the next.
  private static let shortest = Duration.microseconds(2)

  private let timeline: Timeline
  private var start = ContinuousClock.now
  private var layer = 0
  private var isBackward = false

  /// Begins the forward pass.
  init(_ timeline: Timeline) { self.timeline = timeline }

  /// Between two layers, where `body` is done.
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

  /// The gradient of `tensor` is final.
  func ready(_ tensor: Int) {
    isBackward = true
    let end = ContinuousClock.now
    timeline.noteCompute("backward", tensor: tensor, from: start, to: end)
    start = end
  }
}

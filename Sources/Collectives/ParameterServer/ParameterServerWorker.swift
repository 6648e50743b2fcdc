internal import Buffers
internal import Codecs

extension ParameterServer {
  /// One of this rank's workers.
  final class Worker {
    let id: Int
    /// The values that it holds.
    let parameters: FloatBuffer
    /// Encodes its gradients.
    let coder: GroupCoder
    /// Its minibatch; nil if there is none left.
    var minibatch: Int?
    /// The owners whose answers are awaited.
    var awaited: Set<Int> = []
    /// Whether it can compute a gradient.
    var isReady: Bool { minibatch != nil && awaited.isEmpty }

    init(id: Int, codec: any Codec, count: Int) {
      self.id = id
      parameters = FloatBuffer(count: count)
      coder = GroupCoder(codec, count: count)
    }
  }
}

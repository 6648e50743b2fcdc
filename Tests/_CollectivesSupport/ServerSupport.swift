import Buffers
import Codecs
import PointToPoint
import Transport

/// A model of a few tensors, drawn towards targets that depend on the minibatch: the gradient is the distance to the target.
struct TargetModel {
  let layout: TensorLayout
  let settings: ParameterServer.Settings
  var codec: any Codec = Identity()
  var rate: Float = 0.125
  let model: FloatBuffer
  private let random = Philox(seed: 4, purpose: .tests)

  init(_ settings: ParameterServer.Settings, layout: TensorLayout = TensorLayout([("a", [3, 33]), ("b", [7]), ("c", [1])])) {
    (self.settings, self.layout) = (settings, layout)
    model = FloatBuffer(count: layout.count)
    for i in 0..<model.count { model[i] = random.uniform(i) - 0.5 }
  }

  /// The gradient of a minibatch at `values`.
  func gradient(_ minibatch: Int, at values: some Collection<Float>) -> [Float] {
    values.enumerated().map { $1 - random.uniform($0 + 10_000 * (minibatch % 5)) }
  }

  /// A server of the model, whose owners descend at the rate, as do workers by themselves.
  func server(_ hosts: HostMap) throws -> ParameterServer {
    let (model, rate) = (model, rate)
    return try ParameterServer(
      hosts, layout: layout, parameters: model, codec: codec, settings: settings, rate: { _ in rate },
      step: { _, values, gradient, _, _ in for i in 0..<values.count { values[i] -= rate * gradient[i] } }
    ) { range, gradient, _, adjusted, _ in
      let rate = adjusted(rate)
      for i in range { model[i] -= rate * gradient[i - range.lowerBound] }
    }
  }

  /// Trains over segments in the order of `speed`, with messages as floats in the first.
  func train(
    _ server: ParameterServer, _ segments: [Range<Int>], _ speed: EmulatedSpeed = .exponential, skipping skipped: Int? = nil
  ) throws -> [Float] {
    for segment in segments {
      try server.run(segment, usesFloats: segment.lowerBound == 0, order: .listed(speed.course(of: segment, settings).order)) {
        _, minibatch, parameters, gradient, serve in
        serve()
        for (i, value) in self.gradient(minibatch, at: parameters.values).enumerated() { gradient[i] = value }
        serve()
        return minibatch == skipped ? 0 : 2
      }
    }
    return Array(model.values)
  }
}

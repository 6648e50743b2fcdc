import Buffers
import Strategies
import Trainer

/// Delayed descent in a few plain lines: the gradient of a half is applied after the next half was computed.
///
/// Each half has its share of what is meant for a step: of the weight decay, and of the norm that a gradient is clipped to, unless
/// `sharesClip` is false.
enum PlainDelayedDescent {
  static func train(_ options: TrainerOptions, sharesClip: Bool = true) throws -> FloatBuffer {
    let run = try PlainRun(options)
    let weights = run.weights
    var velocity = [Float](repeating: 0, count: weights.count)
    var waiting: (gradient: FloatBuffer, rate: Float, share: Float)?
    func applyWaiting() {
      guard let (gradient, rate, share) = waiting else { return }
      if let clip = options.clip { PlainRun.clip(gradient, to: sharesClip ? clip * Double(share) : clip) }
      let decay = share * Float(options.weightDecay)
      for i in 0..<weights.count {
        velocity[i] = Float(options.momentum) * velocity[i] + (gradient[i] + decay * weights[i])
        weights[i] = weights[i] - rate * velocity[i]
      }
      waiting = nil
    }
    for step in run.steps {
      let samples = run.samples(of: step)
      let middle = (samples.count + 1) / 2
      for half in [samples[..<middle], samples[middle...]] where !half.isEmpty {
        try run.computeGradient(of: half, among: samples.count)
        applyWaiting()
        let gradient = FloatBuffer(count: weights.count)
        gradient.copy(from: run.gradient)
        waiting = (gradient, run.rate(of: step), Float(half.count) / Float(samples.count))
      }
    }
    applyWaiting()
    return weights
  }
}

internal import Buffers
internal import Codecs

/// A worker that pushes the mean of its gradients, and computes at what it pulled last, less the steps of its own since then.
///
/// It holds b, what it has pulled, and computes at x. After each gradient x ← x − ηg, unless it pulls right away; the push is the
/// mean of the block's gradients. When it has pulled, x ← b − Σηg over the gradients that b does not hold yet: those of the block
/// that a pipelined worker has computed meanwhile. So each worker sees its own updates whatever the others do.
/// Source: algorithms §7.1 (Downpour), §7.3 (read-my-writes); Dean et al. 2012.
/// - Memory: x and the residual; b with local steps; a gradient with several in a push; another one if it is pipelined.
final class GradientWorker: WorkerRule {
  let values: FloatBuffer
  /// b; the values themselves without local steps.
  private let pulled: FloatBuffer
  /// Σg of the block; the gradient of the rank if that is pushed as it is.
  private var sum: FloatBuffer
  private let addsUp: Bool
  private let coder: GroupCoder
  private let forms: ShardForms
  private let settings: ParameterServer.Settings
  /// The learning rate of a minibatch.
  private let rate: (Int) -> Float
  /// Σηg of the block; empty unless it is pipelined.
  private let ownSteps: FloatBuffer
  /// The gradients in the block so far.
  private var gradientCount = 0
  private var pushCount = 0
  private var hasPulled = false

  init(_ settings: ParameterServer.Settings, count: Int, forms: ShardForms, rate: @escaping (Int) -> Float) {
    (self.settings, self.forms, self.rate) = (settings, forms, rate)
    addsUp = settings.minibatchesPerPush > 1 || settings.isPipelined
    values = FloatBuffer(count: count)
    pulled = addsUp || settings.pushesPerPull > 1 ? FloatBuffer(count: count) : values
    sum = FloatBuffer(count: addsUp ? count : 0)
    ownSteps = FloatBuffer(count: settings.isPipelined ? count : 0)
    coder = GroupCoder(forms.codes.codec, count: count)
  }

  private var stepsItself: Bool { pulled !== values }

  var pulls: Bool { (pushCount + 1) % settings.pushesPerPull == 0 }

  var nonFiniteGroups: Int { coder.nonFiniteGroups }

  func begin(at model: FloatBuffer) {
    values.copy(from: model)
    if stepsItself { pulled.copy(from: model) }
    ownSteps.clear()
    (gradientCount, pushCount, hasPulled) = (0, 0, false)
  }

  func take(_ gradient: FloatBuffer, of minibatch: Int, samples: Int, endsBlock: Bool) {
    guard samples > 0 else { return }
    gradientCount += 1
    if !addsUp {
      sum = gradient
    } else if gradientCount == 1 {
      sum.copy(from: gradient)
    } else {
      for i in 0..<sum.count { sum.baseAddress[i] += gradient.baseAddress[i] }
    }
    guard stepsItself else { return }
    let (rate, x, g) = (rate(minibatch), values.baseAddress, gradient.baseAddress)
    for i in 0..<values.count { x[i] -= rate * g[i] }
    for i in 0..<ownSteps.count { ownSteps.baseAddress[i] += rate * g[i] }
  }

  func encodePush(to shard: Int, into code: UnsafeMutableRawPointer, context: EncodingContext) -> Int {
    let elements = forms.codes.elements(of: shard)
    let mean = sum.baseAddress + elements.lowerBound
    if gradientCount > 1 {
      let share = 1 / Float(gradientCount)
      for i in 0..<elements.count { mean[i] *= share }
    }
    return forms.encodePush(shard, mean, by: coder, into: code, context: context)
  }

  func endPush() {
    ownSteps.clear()
    gradientCount = 0
    pushCount += 1
  }

  func take(answer code: UnsafeRawPointer, of shard: Int) {
    forms.decodePull(shard, code, changing: pulled)
    hasPulled = true
  }

  func goOn() {
    guard hasPulled && stepsItself else { return }
    hasPulled = false
    values.copy(from: pulled)
    for i in 0..<ownSteps.count { values.baseAddress[i] -= ownSteps.baseAddress[i] }
  }

  func forget() { coder.clear() }

  func contribute(to inventory: inout StateInventory, index: Int) { contribute(coder, to: &inventory, index: index) }
}

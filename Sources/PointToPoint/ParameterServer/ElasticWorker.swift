internal import Buffers
internal import Codecs
internal import Kernels

/// A worker with a model of its own, bound elastically to the centre that owners hold.
///
/// It takes steps of its own. With the last gradient g of a block it pushes x, the values at which g was computed, and owners answer
/// with the elastic difference Δ = α(x − centre), by which they have moved the centre: x ← x − ηg − Δ. What an answer carries is what
/// both sides apply, so that the sum of all models and the centre stays.
///
/// As codes, x is pushed as the difference to what the owner knows of it, and Δ is encoded, both without a residual: what codes cannot
/// carry is still in the differences. Models stay from meeting to meeting; what owners know of them begins there with the centre.
/// Source: algorithms §8; Zhang, Choromanska and LeCun 2015.
/// - Memory: x, what was pushed of it, and with codes what owners know.
final class ElasticWorker: WorkerRule {
  let values: FloatBuffer
  /// Whether it has a model of its own; else it begins at the centre.
  var hasBegun = false
  let id: Int
  /// x of the last gradient of the block, and then what is pushed.
  private let pushed: FloatBuffer
  /// What owners know of x; empty with floats.
  private let known: FloatBuffer
  private let forms: ShardForms
  private let step: ParameterServer.Step
  private var gradientCount = 0

  init(_ id: Int, count: Int, forms: ShardForms, step: @escaping ParameterServer.Step) {
    (self.id, self.forms, self.step) = (id, forms, step)
    values = FloatBuffer(count: count)
    pushed = FloatBuffer(count: count)
    known = FloatBuffer(count: forms.codes.codec.isIdentity ? 0 : count)
  }

  /// A block without a gradient leaves everything in its place.
  var pulls: Bool { gradientCount > 0 }

  let nonFiniteGroups = 0

  func begin(at model: FloatBuffer) {
    if !hasBegun { values.copy(from: model) }
    if known.count > 0 { known.copy(from: model) }
    (hasBegun, gradientCount) = (true, 0)
  }

  func take(_ gradient: FloatBuffer, of minibatch: Int, samples: Int, endsBlock: Bool) {
    if endsBlock { pushed.copy(from: values) }
    guard samples > 0 else { return }
    gradientCount += 1
    step(id, values, gradient, minibatch, samples)
  }

  func encodePush(to shard: Int, into code: UnsafeMutableRawPointer, context: EncodingContext) -> Int {
    let elements = forms.codes.elements(of: shard)
    let x = pushed.baseAddress + elements.lowerBound
    guard !forms.pushesAreFloats else { return forms.encodeForgetfully(shard, x, into: code, context: context) }
    let known = known.baseAddress + elements.lowerBound
    subtract(x, known, count: elements.count, into: x)
    let byteCount = forms.encodeForgetfully(shard, x, into: code, context: context)
    add(x, count: elements.count, to: known)
    return byteCount
  }

  func endPush() { gradientCount = 0 }

  func take(answer code: UnsafeRawPointer, of shard: Int) {
    let elements = forms.codes.elements(of: shard)
    forms.withScratch { move in
      forms.decode(shard, code, setting: move)
      let x = values.baseAddress + elements.lowerBound
      subtract(x, move, count: elements.count, into: x)
      guard !forms.pushesAreFloats else { return }
      let known = known.baseAddress + elements.lowerBound
      subtract(known, move, count: elements.count, into: known)
    }
  }

  func goOn() {}

  func forget() {}

  func contribute(to inventory: inout StateInventory, index: Int) {
    inventory.tensors.append(SavedTensor("values", .owned([0..<values.count]), of: values).ofWorkers(id))
  }
}

internal import Buffers
internal import Codecs
internal import Kernels

/// A worker that takes steps of its own, and pushes what they have changed.
///
/// From b, what it has pulled, it takes the steps of a block by an optimizer of its own to x, and pushes the pseudo-gradient b − x,
/// with error feedback. Then x ← b as it is pulled anew; what the optimizer remembers stays.
/// Source: frontier F1.4; Liu et al. 2024, "Asynchronous local-SGD training for language modeling".
/// - Memory: x, b, the residual, and its optimizer.
final class LocalStepsWorker: WorkerRule {
  let values: FloatBuffer
  private let id: Int
  /// b.
  private let pulled: FloatBuffer
  private let coder: GroupCoder
  private let forms: ShardForms
  private let step: ParameterServer.Step

  init(_ id: Int, count: Int, forms: ShardForms, step: @escaping ParameterServer.Step) {
    (self.id, self.forms, self.step) = (id, forms, step)
    values = FloatBuffer(count: count)
    pulled = FloatBuffer(count: count)
    coder = GroupCoder(forms.codes.codec, count: count)
  }

  let pulls = true

  var nonFiniteGroups: Int { coder.nonFiniteGroups }

  func begin(at model: FloatBuffer) {
    values.copy(from: model)
    pulled.copy(from: model)
  }

  func take(_ gradient: FloatBuffer, of minibatch: Int, samples: Int, endsBlock: Bool) {
    guard samples > 0 else { return }
    step(id, values, gradient, minibatch, samples)
  }

  func encodePush(to shard: Int, into code: UnsafeMutableRawPointer, context: EncodingContext) -> Int {
    let elements = forms.codes.elements(of: shard)
    let (b, x) = (pulled.baseAddress + elements.lowerBound, values.baseAddress + elements.lowerBound)
    return forms.withScratch { change in
      subtract(b, x, count: elements.count, into: change)
      return forms.encodePush(shard, change, by: coder, into: code, context: context)
    }
  }

  func endPush() {}

  func take(answer code: UnsafeRawPointer, of shard: Int) { forms.decodePull(shard, code, changing: pulled) }

  func goOn() { values.copy(from: pulled) }

  func forget() { coder.clear() }

  func contribute(to inventory: inout StateInventory, index: Int) { contribute(coder, to: &inventory, index: index) }
}

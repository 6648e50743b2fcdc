internal import Buffers
internal import Datasets

/// Random samples with random targets: a minibatch that repeats.
final class RandomSamples: Dataset {
  let specification = "random"
  let fingerprint: UInt64 = 0
  let kind: SampleForm.Kind
  let featureCount: Int
  let classCount: Int
  private let targetCount: Int
  private let sampleCount: Int
  private let random = Philox(seed: 1, purpose: .tests)
  /// Tokens, or values uniform in ±√3: mean 0 and variance 1, as for standardised inputs.
  private let inputs: [Float]

  /// Samples for one step, `count` in number, of this form.
  init(count: Int, of form: SampleForm) {
    sampleCount = count
    (kind, featureCount, classCount, targetCount) = (form.kind, form.inputCount, form.classCount, form.targetCount)
    let random = random
    inputs = (0..<count * form.inputCount).map { index in
      form.kind == .tokens
        ? Float(random.word(index) % UInt32(form.classCount)) : (2 * random.uniform(index) - 1) * Float(3).squareRoot()
    }
  }

  func count(_ split: Split) -> Int { sampleCount }

  func label(_ index: Int, of split: Split) -> Int { target(0, of: index) }

  /// The class to predict at a position of a sample.
  private func target(_ position: Int, of sample: Int) -> Int {
    Int(random.word(sample * targetCount + position, tensor: 1) % UInt32(classCount))
  }

  func read(
    _ index: Int, of split: Split, variation: Philox?, into inputs: UnsafeMutablePointer<Float>,
    labels: UnsafeMutablePointer<Int32>
  ) {
    self.inputs.withUnsafeBufferPointer { all in
      inputs.update(from: all.baseAddress! + index * featureCount, count: featureCount)
    }
    for position in 0..<targetCount { labels[position] = Int32(target(position, of: index)) }
  }
}

/// The form of samples that `--inputs` names: `784`, `32x32x3` or `text:128`.
///
/// A square number of values is an image of one channel. Throws `SpecificationError`.
func sampleForm(_ inputs: String, classCount: Int) throws(SpecificationError) -> SampleForm {
  func sizes(_ text: some StringProtocol) -> [Int]? {
    let sizes = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
    var product = 1
    for size in sizes {
      let (next, overflow) = product.multipliedReportingOverflow(by: size)
      guard size > 0, !overflow, next <= inputLimit else { return nil }
      product = next
    }
    return sizes
  }
  if inputs.hasPrefix("text:"), let context = sizes(inputs.dropFirst(5)), context.count == 1 {
    return SampleForm(inputCount: context[0], classCount: classCount, kind: .tokens)
  }
  guard let axes = sizes(inputs), axes.count == 1 || axes.count == 3 else {
    throw SpecificationError(
      "--inputs is a number of values such as 784, an image such as 32x32x3, or a text such as text:128, not '\(inputs)'")
  }
  var shape: SampleShape?
  if axes.count == 3 {
    shape = SampleShape(height: axes[0], width: axes[1], channels: axes[2])
  } else {
    let side = Int(Double(axes[0]).squareRoot())
    if side * side == axes[0] { shape = SampleShape(height: side, width: side, channels: 1) }
  }
  return SampleForm(
    inputCount: axes.reduce(1, *), classCount: classCount, kind: shape.map(SampleForm.Kind.image) ?? .values)
}

/// The largest number of values of a sample.
private let inputLimit = 1 << 28

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

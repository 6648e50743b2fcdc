import Buffers
import Networks
import Testing

/// A model as a run trains it, and which work it gives to oneDNN.
private struct PrimitiveCase: CustomTestStringConvertible, Sendable {
  let model: String
  let form: SampleForm
  let minibatches: [Int]
  let hasConvolutions: Bool
  var testDescription: String { model }
}

private let gray = SampleForm(
  inputCount: 784, classCount: 10, kind: .image(SampleShape(height: 28, width: 28, channels: 1)))
private let colour = SampleForm(
  inputCount: 3072, classCount: 10, kind: .image(SampleShape(height: 32, width: 32, channels: 3)))

/// The models of the registry in their usual shapes; with a whole minibatch of a rank, and with a single sample.
private let cases = [
  PrimitiveCase(model: "softmax", form: gray, minibatches: [32, 1], hasConvolutions: false),
  PrimitiveCase(model: "mlp:512,512", form: gray, minibatches: [32, 1], hasConvolutions: false),
  PrimitiveCase(model: "cnn", form: gray, minibatches: [32, 1], hasConvolutions: true),
  PrimitiveCase(model: "cnn", form: colour, minibatches: [32, 1], hasConvolutions: true),
  PrimitiveCase(model: "resnet:20", form: colour, minibatches: [32, 1], hasConvolutions: true),
  PrimitiveCase(model: "resnet:9", form: colour, minibatches: [8, 1], hasConvolutions: true),
  PrimitiveCase(model: "highway:10x128", form: gray, minibatches: [32, 1], hasConvolutions: false),
  PrimitiveCase(
    model: "transformer", form: SampleForm(inputCount: 128, classCount: 65, kind: .tokens), minibatches: [2, 1],
    hasConvolutions: false),
]

/// What oneDNN does for the models, by its own account.
@Suite struct PrimitiveTests {
  @Test func eachModelHasACase() {
    let names = Set(cases.map { String($0.model.prefix { $0 != ":" }) })
    #expect(names == Set(models.entries.map(\.name)))
  }

  /// On processors for which oneDNN generates code, its reference loops never run, forward, backward or around it.
  @Test(.enabled(if: oneDNNDescription.contains("avx"), "oneDNN generates code for AVX2 and newer"), arguments: cases)
  private func noReferenceCodeRuns(_ it: PrimitiveCase) throws {
    let network = try models.make(it.model)(it.form)
    let (parameters, gradient) = (FloatBuffer(count: network.layout.count), FloatBuffer(count: network.layout.count))
    network.initialize(parameters, seed: 1)
    for count in it.minibatches {
      let batch = Minibatch.random(
        count: count, featureCount: network.inputCount, classCount: network.classCount, targetCount: network.targetCount,
        tokenCount: it.form.kind == .tokens ? network.classCount : nil)
      let found = try primitives {
        _ = try network.gradient(of: batch, parameters: parameters, scale: 1, into: gradient) { _ in }
        _ = try network.evaluate(batch, parameters: parameters, logPosteriors: nil)
      }
      #expect(found.filter(\.isReference) == [], "\(it.model), \(count) samples")
      let kinds = Set(found.map(\.kind))
      #expect(kinds.contains("product"))
      let ofConvolutions = ["convolution forward", "convolution data", "convolution weights"]
      #expect(ofConvolutions.allSatisfy { kinds.contains($0) == it.hasConvolutions }, "\(kinds)")
      // Made once, and not again.
      let again = try primitives {
        _ = try network.gradient(of: batch, parameters: parameters, scale: 1, into: gradient) { _ in }
      }
      #expect(again.allSatisfy { $0.kind == "product" })
    }
  }

  /// What is told is this thread's, and only while it is asked for.
  @Test func nothingIsToldUnasked() {
    let geometry = ConvolutionGeometry(
      input: SampleShape(height: 5, width: 5, channels: 3), filterCount: 4, kernel: (3, 3), stride: 1, padding: 1)!
    _ = ConvolutionPasses(geometry, sampleCount: 2, givesInputGradient: true)
    for hasData in [false, true] {
      let found = primitives { _ = ConvolutionPasses(geometry, sampleCount: 2, givesInputGradient: hasData) }
      #expect(found.contains { $0.kind == "convolution data" } == hasData)
      #expect(found.filter { $0.kind.hasPrefix("convolution") }.count == (hasData ? 3 : 2))
    }
    #expect(primitives {} == [])
  }
}

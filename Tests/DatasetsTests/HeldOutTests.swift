import Buffers
import Datasets
import Testing

/// Training samples that take the place of the test samples.
@Suite struct HeldOutTests {
  private func read(_ specification: String, seed: UInt64 = 3) throws -> any Dataset { try datasets.make(specification)(seed) }

  private func inputs(_ index: Int, of split: Split, in data: any Dataset, variation: Philox? = nil) -> [Float] {
    var inputs = [Float](repeating: 0, count: data.featureCount)
    var label: Int32 = -1
    data.read(index, of: split, variation: variation, into: &inputs, labels: &label)
    #expect(Int(label) == data.label(index, of: split))
    return inputs
  }

  @Test func lastTrainingSamplesAreTheTestSamples() throws {
    let whole = try read("glyphs:train=40,test=7")
    let data = try read("glyphs:train=40,test=7,held-out=11")
    #expect(data.count(.train) == 29 && data.count(.test) == 11)
    #expect(data.form == whole.form && data.specification == "glyphs:train=40,test=7,held-out=11")
    for index in [0, 28] {
      #expect(inputs(index, of: .train, in: data) == inputs(index, of: .train, in: whole))
    }
    for index in 0..<11 {
      #expect(inputs(index, of: .test, in: data) == inputs(29 + index, of: .train, in: whole))
    }
    // Ranks that hold out different numbers do not have the same data.
    let others = try ["", ",held-out=10"].map { try read("glyphs:train=40,test=7\($0)").fingerprint }
    #expect(Set(others + [data.fingerprint]).count == 3)
  }

  @Test func heldOutImagesAreNotVaried() throws {
    let directory = TemporaryDirectory()
    for (name, count) in [("data_batch_1.bin", 6), ("test_batch.bin", 1)] {
      directory.write((0..<count * 3073).map { UInt8(truncatingIfNeeded: $0 % 3073 == 0 ? $0 / 3073 : $0 &* 7 >> 2) }, to: name)
    }
    let whole = try read("cifar10:\(directory.path)")
    let data = try read("cifar10:\(directory.path),held-out=2")
    let variation = Philox(seed: 5, purpose: .augmentation, step: 1)
    #expect(inputs(5, of: .train, in: whole, variation: variation) != inputs(5, of: .train, in: whole))
    #expect(inputs(1, of: .test, in: data, variation: variation) == inputs(5, of: .train, in: whole))
    #expect(inputs(1, of: .train, in: data, variation: variation) == inputs(1, of: .train, in: whole, variation: variation))
  }

  @Test func samplesToTrainOnAreLeft() {
    for count in [40, 41] {
      #expect {
        try read("glyphs:train=40,held-out=\(count)")
      } throws: { "\($0)".hasSuffix("held-out=\(count) leaves no training samples of 40; hold out fewer") }
    }
    #expect(throws: SpecificationError.self) { try datasets.make("glyphs:held-out=0") }
    #expect(throws: SpecificationError.self) { try datasets.make("text:file,held-out=3") }
  }
}

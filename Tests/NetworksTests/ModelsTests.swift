import Buffers
import Networks
import Testing

@Suite struct ModelsTests {
  @Test func tensorsLieInBackwardOrder() throws {
    let layout = try models.make("mlp:5,3")(7, 2).layout
    #expect(
      layout.tensors.map(\.name) == [
        "layers.3.weight", "layers.3.bias", "layers.2.weight", "layers.2.bias", "layers.1.weight", "layers.1.bias",
      ])
    #expect(layout.tensors.map(\.shape) == [[2, 3], [2], [3, 5], [3], [5, 7], [5]])
    #expect(layout.count == 8 + 18 + 40)
    #expect(try models.make("softmax")(7, 2).layout.tensors.map(\.name) == ["layers.1.weight", "layers.1.bias"])
  }

  @Test func repeatedSizesAreWrittenWithAnX() throws {
    let layers = try models.make("mlp:9,3x4,2")(7, 2).layout.tensors.filter { $0.name.hasSuffix(".weight") }
    #expect(layers.map(\.shape) == [[2, 2], [2, 4], [4, 4], [4, 4], [4, 9], [9, 7]])
    let paper = try models.make("mlp:7x2048")(440, 9304)
    #expect(paper.layout.count == 2048 * 441 + 6 * 2048 * 2049 + 9304 * 2049)
    #expect(paper.inputCount == 440 && paper.classCount == 9304)
  }

  /// What is wrong is named in one sentence, with what would be right.
  @Test(arguments: [
    ("mlp", "7x2048"), ("mlp:0", "1 to 65536"), ("mlp:65537", "1 to 65536"), ("mlp:-3", "1 to 65536"),
    ("mlp:512,", "not ''"), ("mlp:2x3x4", "not '2x3x4'"), ("mlp:65x2", "not '65x2'"), ("mlp:x5", "not 'x5'"),
    ("mlp:0x5", "not '0x5'"), ("mlp:64x2,2", "more than 64"), ("mlp:5x", "not '5x'"),
    ("mlp:99999999999999999999", "1 to 65536"),
    ("mlp:5,activation=rleu", "did you mean 'relu'"), ("mlp:5,start=xavier", "uniform, he, glorot"),
    ("mlp:5,size=3", "activation, start"), ("softmax:5", "takes no value"), ("softmax:activation=relu", "no key"),
    ("mpl:5", "did you mean 'mlp'"),
  ]) func mistakesAreNamed(_ text: String, _ part: String) {
    let error = #expect(throws: SpecificationError.self) { try models.make(text) }
    #expect(error?.description.contains(part) == true, "\(error?.description ?? "no error")")
  }

  @Test func hugeModelsAreRefusedBeforeTheyAreAllocated() throws {
    let make = try models.make("mlp:64x65536")
    let error = #expect(throws: SpecificationError.self) { try make(784, 10) }
    #expect(error?.description.contains("parameters") == true)
  }
}

import Buffers
import Networks
import Testing

/// Models of colour images, and deep ones.
@Suite struct DeepModelTests {
  private static let colour = SampleShape(height: 32, width: 32, channels: 3)

  private func make(_ model: String, _ image: SampleShape = Self.colour) throws -> any Network {
    try models.make(model)(image.count, 10, image: image)
  }

  /// The parameters of models in the literature, and those of the plain formula.
  @Test func parameterCounts() throws {
    #expect(try make("cnn").layout.count == 113_962)
    #expect(try make("cnn:32,64,128,norm=sync").layout.count == 113_962)
    #expect(try make("resnet:9,width=16").layout.count == 412_954)
    // ResNet-20 without shortcuts that project has 269 722 of PyTorch's CIFAR form and two linear biases' worth; these add theirs.
    for (depth, blocks) in [(8, 1), (20, 3), (56, 9)] {
      let projections = 32 * 16 + 64 + 64 * 32 + 128
      var count = 3 * 16 * 9 + 32 + 64 * 10 + 10 + projections
      for (width, input) in [(16, 16), (32, 16), (64, 32)] {
        count += (input * width + width * width) * 9 + 4 * width + (blocks - 1) * (2 * width * width * 9 + 4 * width)
      }
      #expect(try make("resnet:\(depth)").layout.count == count)
    }
    #expect(try make("highway:10x128").layout.count == 3072 * 128 + 128 + 20 * (128 * 128 + 128) + 1290)
    #expect(try models.make("mlp:12,9,norm=batch")(7, 2).layout.count == 7 * 12 + 24 + 12 * 9 + 18 + 20)
  }

  /// The values of `cnn` are filters with a normalization or with `hidden`; LeNet stays what it was.
  @Test func valuesOfConvolutionalNetworks() throws {
    let gray = SampleShape(height: 28, width: 28, channels: 1)
    func shapes(_ model: String, _ image: SampleShape) throws -> [[Int]] {
      try make(model, image).layout.tensors.filter { $0.shape.count > 1 }.map(\.shape)
    }
    #expect(try shapes("cnn", gray) == shapes("cnn:20,50,500,norm=none", gray))
    #expect(try shapes("cnn:20,50,hidden=500", gray) == shapes("cnn", gray))
    #expect(try shapes("cnn:norm=none", Self.colour) == [[10, 500], [500, 1250], [50, 20, 5, 5], [20, 3, 5, 5]])
    #expect(try shapes("cnn:4,8,norm=batch", gray) == [[10, 392], [8, 4, 3, 3], [4, 1, 3, 3]])
    #expect(try shapes("cnn:4,8,kernel=5,hidden=9", Self.colour) == [[10, 9], [9, 512], [8, 4, 5, 5], [4, 3, 5, 5]])
    #expect(try shapes("cnn:4,kernel=3,hidden=0,norm=none", gray) == [[10, 676], [4, 1, 3, 3]])
  }

  /// Filters that read the image, and vectors, travel as floats; a perceptron's biases do not.
  @Test func plainTensors() throws {
    func plain(_ network: any Network) -> [String] { network.layout.tensors.filter { $0.kind == .raw }.map(\.name) }
    #expect(
      try plain(make("cnn:4,8")) == [
        "layers.5.bias", "layers.4.weight", "layers.4.bias", "layers.2.weight", "layers.2.bias", "layers.1.weight",
      ])
    #expect(
      try plain(models.make("cnn:4,9")(784, 10, image: SampleShape(height: 28, width: 28, channels: 1))) == [
        "layers.3.bias", "layers.2.bias", "layers.1.weight", "layers.1.bias",
      ])
    #expect(try plain(models.make("mlp:5,4")(7, 2)).isEmpty && plain(models.make("softmax")(7, 2)).isEmpty)
    #expect(try plain(models.make("mlp:5,norm=batch")(7, 2)) == ["layers.3.bias", "layers.2.weight", "layers.2.bias"])
    #expect(
      try plain(models.make("highway:1x3")(7, 2)) == ["layers.4.bias", "layers.3.bias", "layers.2.bias", "layers.1.bias"])
  }

  /// A closed gate passes on what it reads, to the bit.
  @Test func closedGatesAreTheIdentity() throws {
    let batch = Minibatch.random(count: 5, featureCount: 12, classCount: 3)
    let highway = try Started("highway:4x7,gate=-50", inputs: 12, classes: 3)
    let plain = try Started("mlp:7", inputs: 12, classes: 3)
    let names = ["layers.1.weight", "layers.1.bias", "layers.2.weight", "layers.2.bias"]
    for (own, other) in zip(names, ["layers.1.weight", "layers.1.bias", "layers.10.weight", "layers.10.bias"]) {
      let (target, source) = (plain.network.layout[own]!.range, highway.network.layout[other]!.range)
      for index in 0..<target.count {
        plain.parameters[target.lowerBound + index] = highway.parameters[source.lowerBound + index]
      }
    }
    #expect(highway.network.layout["layers.2.bias"]!.range.allSatisfy { highway.parameters[$0] == -50 })
    let expected = try plain.network.evaluate(batch, parameters: plain.parameters, logPosteriors: nil)
    #expect(try highway.network.evaluate(batch, parameters: highway.parameters, logPosteriors: nil) == expected)
  }

  /// The same inputs give the same bits again, after other sizes of minibatches, and tensors are final when they are ready.
  @Test(arguments: ["resnet:8", "resnet:9", "cnn:dropout=0.3", "highway:3x20"]) func gradientsRepeat(_ model: String) throws {
    let image = SampleShape(height: 8, width: 9, channels: 3)
    let started = try Started(model, inputs: image.count, classes: 10, image: image)
    let small = Minibatch.random(count: 3, featureCount: image.count, classCount: 10, spare: 4)
    let large = Minibatch.random(count: 9, featureCount: image.count, classCount: 10, seed: 2)
    small.origin = MinibatchOrigin(seed: 1, step: 2, position: 3)
    var hashes: [UInt64] = []
    for batch in [small, large, small] {
      var final: [UInt64] = []
      let layout = started.network.layout
      _ = try started.network.gradient(of: batch, parameters: started.parameters, scale: 1, into: started.gradient) {
        #expect($0 == final.count)
        final.append(started.gradient.hash(in: layout.tensors[$0].range))
      }
      #expect(final == layout.tensors.map { started.gradient.hash(in: $0.range) })
      hashes.append(started.gradient.hash())
    }
    #expect(hashes[0] == hashes[2] && hashes[0] != hashes[1])
  }

  @Test(arguments: [
    ("resnet", "resnet:20"), ("resnet:21", "6n + 2, from 8 to 110"), ("resnet:116", "resnet:9"),
    ("resnet:20,20", "write a depth"), ("resnet:20,width=24", "multiple of 16"), ("resnet:20,norm=none", "batch or sync"),
    ("resnet:20,norm=batsch", "did you mean"),
    ("highway", "highway:10x128"), ("highway:65x8", "64 layers"), ("highway:8", "highway:10x128"),
    ("highway:2x8,gate=x", "-100 to 100"), ("cnn:8,16,norm=batch,kernel=4", "odd kernel"),
    ("mlp:5,norm=layr", "none, batch, sync"),
  ]) func mistakesAreNamed(_ text: String, _ part: String) {
    let error = #expect(throws: SpecificationError.self) { try models.make(text) }
    #expect(error?.description.contains(part) == true, "\(error?.description ?? "no error")")
  }

  @Test func imagesThatDoNotFitAreRefused() throws {
    let small = SampleShape(height: 4, width: 4, channels: 3)
    let error = #expect(throws: SpecificationError.self) { try make("resnet:9", small) }
    #expect(error?.description == "'resnet:9' on images of 4×4×3: pooling 2×2 does not fit on 1×1")
    #expect(throws: SpecificationError.self) { try models.make("resnet:20")(49, 10) }
  }
}

internal import Buffers

/// The `resnet` row of the models: residual networks for small images.
///
/// A depth of 6n + 2 is the network of He et al. 2016, section 4.2: a convolution, three stages of n blocks of two 3×3 convolutions
/// with batch normalization, of width, 2 · width and 4 · width channels, each stage but the first at half the size of the one before,
/// then the mean over all pixels and a linear layer. Where the shape changes, the shortcut is a 1×1 convolution with normalization
/// (option B of the paper, as in PyTorch's models). Depth 9 is a shorter and wider network: convolutions with pooling, and a block
/// of two convolutions at half and at an eighth of the size, after Page 2018, "How to train your ResNet".
let residualNetwork = Registry<NetworkRecipe>.Entry(
  "resnet", "residual network on images: 3×3 convolutions with batch normalization, and shortcuts past each two",
  values: "depth: 6n + 2, such as 20 or 56, with 1×1 convolutions where a shortcut changes its shape; or 9",
  keys: [
    ("width", "channels of the first stage, a multiple of 16 (16)"),
    ("norm", "batch (each rank by its own samples) or sync (by those of all ranks) (batch)"),
    ("start", "uniform by fan-in, he or glorot (he)"),
  ]
) { specification in
  let start = try specification.choice("start", default: Initialization.he)
  let norm = try specification.choice("norm", default: Normalization.batch)
  guard norm != .absent else {
    throw SpecificationError("'\(specification)': norm is batch or sync; no residual network goes without")
  }
  let width = try specification.number("width", in: 1...1024) ?? 16
  guard width % 16 == 0 else {
    throw SpecificationError(
      "'\(specification)': width is a multiple of 16, the channels that convolutions compute at a time, not \(width)")
  }
  guard specification.values.count == 1, let depth = Int(specification.values[0]),
    depth == 9 || (8...110).contains(depth) && depth % 6 == 2
  else {
    throw SpecificationError("'\(specification)': write a depth of 6n + 2, from 8 to 110, such as resnet:20; or resnet:9")
  }
  let parts = ResidualParts(isSynchronized: norm == .sync, start: start)
  return NetworkRecipe { form in
    let image = try image(of: form, for: specification)
    let layers = depth == 9 ? parts.nine(width) : parts.stages(of: (depth - 2) / 6, width)
    return try network(
      of: specification, Sequence(layers + [GlobalAveragePooling(), Linear(form.classCount, start: start)]), on: image)
  }
}

/// The parts of residual networks.
private struct ResidualParts {
  let isSynchronized: Bool
  let start: Initialization

  /// Three stages of `count` blocks.
  func stages(of count: Int, _ width: Int) -> [any Layer] {
    var layers = convolution(width)
    for (stage, channels) in [width, 2 * width, 4 * width].enumerated() {
      for index in 0..<count { layers.append(block(channels, isHalving: stage > 0 && index == 0)) }
    }
    return layers
  }

  /// The network of depth 9.
  func nine(_ width: Int) -> [any Layer] {
    convolution(width)
      + convolution(2 * width) + [MaxPooling(2), block(2 * width)]
      + convolution(4 * width) + [MaxPooling(2)]
      + convolution(8 * width) + [MaxPooling(2), block(8 * width)]
  }

  /// A 3×3 convolution with normalization and ReLU.
  private func convolution(_ channels: Int, stride: Int = 1) -> [any Layer] {
    [filters(channels, 3, stride), normalization(relu: true)]
  }

  /// Two convolutions and a shortcut past them; one that halves the image has a convolution in its shortcut.
  private func block(_ channels: Int, isHalving: Bool = false) -> Residual {
    let stride = isHalving ? 2 : 1
    return Residual(
      Sequence(convolution(channels, stride: stride) + [filters(channels, 3, 1)]),
      shortcut: isHalving ? Sequence([filters(channels, 1, stride), normalization(relu: false)]) : nil,
      end: normalization(relu: true))
  }

  private func filters(_ channels: Int, _ kernel: Int, _ stride: Int) -> Convolution {
    Convolution(channels, kernel: (kernel, kernel), stride: stride, padding: kernel / 2, start: start, hasBiases: false)
  }

  private func normalization(relu: Bool) -> BatchNormalization {
    BatchNormalization(relu: relu, isSynchronized: isSynchronized)
  }
}

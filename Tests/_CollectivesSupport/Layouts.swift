import Buffers

/// Layouts of awkward sizes.
enum Layouts {
  /// Vectors of every length at which something changes, weights with biases, an empty tensor, rows over the longest group.
  static let awkward = TensorLayout([
    ("layers.5.weight", [3, 33]), ("layers.5.bias", [3]), ("layers.4.weight", [2, 5000]), ("layers.4.bias", [2]),
    ("layers.3.weight", [0, 7]),
    ("vector.1", [1]), ("vector.2", [2]), ("vector.31", [31]), ("vector.32", [32]), ("vector.33", [33]),
    ("vector.1000", [1000]), ("layers.2.weight", [65, 64]), ("layers.2.bias", [65]),
  ])
  /// A perceptron.
  static let perceptron = layout(inputs: 100, hidden: [64, 32], classes: 10)
  /// Nothing at all.
  static let empty = TensorLayout()
  /// One value: all shards but one are empty.
  static let single = TensorLayout([("bias", [1])])
  /// Three groups: some shards are empty from four ranks on.
  static let threeRows = TensorLayout([("weights", [3, 40])])
  /// One group that every rank but its owner only sends.
  static let longRow = TensorLayout([("weights", [1, 4096])])
  /// A row a little over the longest group.
  static let splitRow = TensorLayout([("weights", [1, 4097]), ("bias", [1])])
  /// In groups of 3 the codes of a shard are several messages at 8 ranks.
  static let manyGroups = TensorLayout([("weights", [400, 250]), ("biases", [401])])

  /// Between rows, tensors that travel as floats: one value, a few, and more than are coded in one call.
  static let deep: TensorLayout = {
    var layout = TensorLayout([("layers.4.weight", [3, 40])])
    layout.append("layers.4.bias", shape: [3], kind: .raw)
    layout.append("layers.3.weight", shape: [1500], kind: .raw)
    layout.append("layers.2.weight", shape: [5, 2, 3, 3])
    layout.append("layers.2.bias", shape: [1], kind: .raw)
    layout.append("layers.1.weight", shape: [4, 3, 3, 3], kind: .raw)
    return layout
  }()

  static let all: [(name: String, layout: TensorLayout)] = [
    ("awkward", awkward), ("perceptron", perceptron), ("empty", empty), ("single", single), ("threeRows", threeRows),
    ("longRow", longRow), ("splitRow", splitRow), ("deep", deep),
  ]

  /// A multi-layer perceptron in backward order, weights as outputs × inputs.
  static func layout(inputs: Int, hidden: [Int], classes: Int) -> TensorLayout {
    let sizes = [inputs] + hidden + [classes]
    var layout = TensorLayout()
    for layer in stride(from: sizes.count - 1, to: 0, by: -1) {
      layout.append("layers.\(layer).weight", shape: [sizes[layer], sizes[layer - 1]])
      layout.append("layers.\(layer).bias", shape: [sizes[layer]])
    }
    return layout
  }
}

import Buffers
import Codecs

/// What an owner and its workers do, value by value, with codes of whole groups.
struct ServerReference {
  /// Several blocks of rows, a row that is a block of its own, groups that are sent raw, and a tensor of one value.
  static let layout = TensorLayout([("a", [40, 301]), ("b", [7]), ("c", [2, 5003]), ("d", [1]), ("e", [33, 130])])
  static let rate: Float = 0.05

  static func target(_ index: Int, _ minibatch: Int) -> Float {
    Philox(seed: 9, purpose: .tests).uniform(index + 100_000 * (minibatch % 4))
  }

  static func start(_ count: Int) -> [Float] { (0..<count).map { Philox(seed: 8, purpose: .tests).uniform($0) - 0.5 } }

  var model: [Float]
  var held: [[Float]]
  let coders: [GroupCoder]
  var squares: [Float]
  let codec: any Codec
  let groups: [Range<Int>]

  init(_ codec: any Codec, workers: Int) {
    let count = Self.layout.count
    (self.codec, groups, model) = (codec, codec.grouping.groups(of: Self.layout), Self.start(count))
    held = Array(repeating: model, count: workers)
    coders = (0..<workers).map { _ in GroupCoder(codec, count: count) }
    squares = Array(repeating: 0, count: count)
  }

  /// What codes of `values` carry.
  func carried(_ values: [Float], by coder: GroupCoder, seed: UInt64, step: Int, stream: Int) -> [Float] {
    var carried = values
    let code = ByteBuffer(count: 4 * values.count + 64)
    for group in groups {
      var context = EncodingContext(seed: seed, step: step, stream: stream)
      context.tensor = Self.layout.tensors.firstIndex { $0.range.contains(group.lowerBound) }!
      context.group = groups.count {
        Self.layout.tensors[context.tensor].range.contains($0.lowerBound) && $0.lowerBound < group.lowerBound
      }
      values.withUnsafeBufferPointer {
        _ = coder.encode(
          $0.baseAddress! + group.lowerBound, at: codec.isIdentity ? 0 : group.lowerBound, count: group.count,
          into: code.baseAddress, context: context)
      }
      carried.withUnsafeMutableBufferPointer {
        _ = coder.decode(code.baseAddress, count: group.count, setting: $0.baseAddress! + group.lowerBound)
      }
    }
    return carried
  }

  /// Applies the push of a worker, the `number`-th of the segment, and answers it.
  mutating func push(_ worker: Int, minibatch: Int, number: Int, isEmpty: Bool) {
    if !isEmpty {
      let gradient = held[worker].indices.map { held[worker][$0] - Self.target($0, minibatch) }
      let arrived = carried(gradient, by: coders[worker], seed: 5, step: minibatch, stream: 2 * worker)
      for i in model.indices {
        let g = arrived[i]
        squares[i] = 0.9 * squares[i] + (1 - 0.9) * (g * g)
        let lambda = 3 / (squares[i] + 1e-7).squareRoot()
        let x = lambda * (g * g) * (model[i] - held[worker][i])
        model[i] -= Self.rate * (g + min(max(x, -abs(g)), abs(g)))
      }
    }
    // Floats are pulled as they are.
    guard !codec.isIdentity else { return held[worker] = model }
    let difference = model.indices.map { model[$0] - held[worker][$0] }
    let fresh = GroupCoder(codec, count: model.count)
    let answer = carried(difference, by: fresh, seed: 5, step: number, stream: 2 * worker + 1)
    for i in model.indices { held[worker][i] += answer[i] }
  }
}

import Buffers

/// The codecs in plain scalar code, from their published format.
enum ReferenceCodec: Hashable {
  case none
  /// Two means for each row, or for so many elements.
  case oneBit(elements: Int?)

  /// As it is written on a command line.
  var specification: String {
    switch self {
    case .none: "none"
    case .oneBit(elements: nil): "one-bit:group=row"
    case .oneBit(let elements?): "one-bit:group=\(elements)"
    }
  }

  /// The values that share statistics, as ranges of the flat buffer.
  func groups(of layout: TensorLayout) -> [Range<Int>] {
    var groups: [Range<Int>] = []
    var start = 0
    for tensor in layout.tensors {
      let size = tensor.shape.reduce(1, *)
      if size == 0 { continue }
      if tensor.kind == .raw {
        groups += (start..<start + size).map { $0..<$0 + 1 }
        start += size
        continue
      }
      let (row, length): (Int, Int)
      switch self {
      case .none: (row, length) = (size, 1024)
      case .oneBit(let elements?): (row, length) = (size, elements)
      case .oneBit(elements: nil):
        row = tensor.shape.count > 1 ? tensor.shape.dropFirst().reduce(1, *) : size
        let pieces = (row + 4095) / 4096
        let share = Int((Double(row) / Double(pieces)).rounded(.up))
        length = pieces == 1 ? row : (share + 31) / 32 * 32
      }
      for rowStart in stride(from: start, to: start + size, by: row) {
        for groupStart in stride(from: rowStart, to: rowStart + row, by: length) {
          groups.append(groupStart..<min(groupStart + length, rowStart + row))
        }
      }
      start += size
    }
    return groups
  }

  /// The bytes of the code of a group.
  func byteCount(of count: Int) -> Int {
    switch self {
    case .none: 4 * count
    case .oneBit: min(4 * count, 8 + 4 * ((count + 31) / 32))
    }
  }

  /// Whether a group goes as floats because its code would be no smaller.
  func isRaw(_ count: Int) -> Bool {
    switch self {
    case .none: false
    case .oneBit: 4 * count <= 8 + 4 * ((count + 31) / 32)
    }
  }

  /// What arrives of gradient + residual, and what stays; nil where something is not finite.
  func transfer(_ gradient: ArraySlice<Float>, residual: ArraySlice<Float>) -> (values: [Float], residual: [Float])? {
    if case .none = self { return gradient.allSatisfy(\.isFinite) ? (Array(gradient), []) : nil }
    let v = zip(gradient, residual).map { ($0 + $1) + 0.0 }
    if isRaw(v.count) { return v.allSatisfy(\.isFinite) ? (v, v.map { _ in 0 }) : nil }
    let positives = ReferenceCodec.laneSum(v) { $0 >= 0 }
    let negatives = ReferenceCodec.laneSum(v) { $0 < 0 }
    guard v.allSatisfy(\.isFinite), positives.isFinite, negatives.isFinite else { return nil }
    let positiveCount = v.count { $0 >= 0 }
    let negativeCount = v.count - positiveCount
    let a1 = positiveCount == 0 ? 0 : positives / Float(positiveCount)
    let a0 = negativeCount == 0 ? 0 : negatives / Float(negativeCount)
    let y = v.map { $0 >= 0 ? a1 : a0 }
    return (y, zip(v, y).map { $0 - $1 })
  }

  /// The sum of the values that are `included`: lane l of 32 takes elements l, l + 32, …; halves are added until one is left.
  private static func laneSum(_ v: [Float], of included: (Float) -> Bool) -> Float {
    var lanes = [Float](repeating: 0, count: 32)
    for (index, value) in v.enumerated() where included(value) { lanes[index % 32] += value }
    for half in [16, 8, 4, 2, 1] {
      for lane in 0..<half { lanes[lane] += lanes[lane + half] }
    }
    return lanes[0]
  }
}

import Buffers
import Codecs

/// What arrives of a group by the codes of some of its values, in plain code and fp64, from their keys alone.
enum SparseReference {
  /// What arrives by `threshold`; nil for other codecs.
  static func arriving(_ codec: any Codec, _ v: [Float]) -> [Float]? {
    guard codec.name == "threshold", let keys = try? Specification(codec.specification).options else { return nil }
    let limit = Double(keys["limit"]!)!, chunk = Int(keys["chunk"]!)!
    let squares = v.reduce(0.0) { $0 + Double($1) * Double($1) }
    let scale =
      switch keys["unit"] {
      case "rms": (squares / Double(v.count)).squareRoot()
      case "max": Double(v.reduce(0) { max($0, $1.magnitude) })
      default: 1.0
      }
    let reached = v.count { $0 != 0 && $0.magnitude >= Float(limit * scale) }
    let most = most(keys["most"]!, v.count, chunk)
    return ChunkReference.transfer(v, k: min(reached, most), ChunkValues(rawValue: keys["values"]!)!).arrived
  }

  /// A share or a number of a chunk, in proportion for a shorter one.
  static func most(_ text: String, _ count: Int, _ chunk: Int) -> Int {
    let parts = text.split(separator: "/").compactMap { Double($0) }
    let whole = parts.count == 2 ? max(1, Int((Double(chunk) * parts[0] / parts[1]).rounded(.up))) : Int(parts[0])
    return max(1, Int((Double(whole) * Double(count) / Double(chunk)).rounded(.up)))
  }

  /// The probabilities with which `unbiased-k` sends values: by the steps of the paper.
  static func probabilities(_ x: [Float], k: Int) -> [Double] {
    let magnitudes = x.map { Double($0.magnitude) }
    guard magnitudes.count(where: { $0 > 0 }) > k else { return magnitudes.map { $0 > 0 ? 1 : 0 } }
    var p = magnitudes.map { min(1, Double(k) * $0 / magnitudes.reduce(0, +)) }
    while true {
      let open = p.indices.filter { p[$0] < 1 }
      let factor = Double(k - (p.count - open.count)) / open.reduce(0) { $0 + p[$1] }
      if factor <= 1 + 1e-12 { return p }
      for i in open { p[i] = min(1, factor * p[i]) }
    }
  }
}

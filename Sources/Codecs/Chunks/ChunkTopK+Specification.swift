internal import Buffers

extension ChunkTopK {
  /// How sums are divided.
  private enum Divisor: String, CaseIterable { case ranks, senders }

  /// The codec of a specification.
  init(_ specification: Specification) throws(SpecificationError) {
    chunk = try specification.integer("chunk", default: 4096, in: 1...1 << 18)
    k = try specification.amount("k", default: "1/64", ofChunk: chunk)
    down = try specification.amount("down", default: k.description, ofChunk: chunk)
    values = try specification.choice("values", default: ChunkValues.sign)
    index = try specification.choice("index", default: IndexChoice.auto)
    decay = Float(try specification.number("decay", default: 1, in: 0...1))
    let divisor = try specification.choice("divide", default: Divisor.ranks)
    dividesBySenders = divisor == .senders
    self.specification =
      "chunk-top-k:k=\(k),chunk=\(chunk),values=\(values.rawValue),index=\(index.rawValue),"
      + "decay=\(decay == 0 || decay == 1 ? "\(Int(decay))" : "\(decay)"),down=\(down),divide=\(divisor.rawValue)"
  }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "chunk-top-k", "the largest values of each chunk, as signs and a magnitude, with error feedback (Sarfi et al. 2025)",
    keys: [
      ("k", "values that are sent of a chunk: a number or a share (1/64)"),
      ("chunk", "values of a tensor that are chosen from together (4096)"),
      ("values", "sign: a magnitude for a chunk; two: two of them, by 2 bits a value; bf16; float (sign)"),
      ("index", "how indices are written: elias-fano, gaps, bitmap, or auto: the shortest of them (auto)"),
      ("decay", "what is kept of a rank's residual at each exchange, 0 to 1; 1 loses nothing (1)"),
      ("down", "values that are sent back of a chunk of the sum (as k)"),
      (
        "divide", "ranks: sums; senders: a value counts as if all ranks had sent what those that sent it did on average (ranks)"
      ),
    ]
  ) { try ChunkTopK($0) }
}

internal import Buffers

extension Specification {
  /// How many values of a chunk a key names, as a number or a share.
  ///
  /// - Throws: `SpecificationError` if it is more than the chunk has.
  func amount(_ key: String, default standard: String, ofChunk chunk: Int) throws(SpecificationError) -> Amount {
    let amount = try amount(key, default: standard)
    guard amount.count(of: chunk) <= chunk else {
      throw SpecificationError("'\(self)': \(key) = \(amount) is more than the \(chunk) values of a chunk")
    }
    return amount
  }
}

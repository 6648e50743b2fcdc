// Sums in which a value that some ranks have sent counts for all.
extension GroupCoder {
  /// Sets `values` to the decoded groups, added in the given order in fp32, each value times the number of codes over the number of
  /// those in which it is not zero; advances each of `codes` past its group.
  ///
  /// Source: frontier F1.6, the mean over senders.
  func decodeSumBySenders(
    _ codes: UnsafeMutablePointer<UnsafeRawPointer>, codeCount: Int, count: Int, into values: UnsafeMutablePointer<Float>
  ) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * count) { room in
      let (decoded, senders) = (room.baseAddress!, room.baseAddress! + count)
      values.update(repeating: 0, count: count)
      senders.initialize(repeating: 0, count: count)
      for k in 0..<codeCount {
        codes[k] += decode(codes[k], count: count, setting: decoded)
        for i in 0..<count {
          values[i] += decoded[i]
          senders[i] += decoded[i] == 0 ? 0 : 1
        }
      }
      for i in 0..<count where senders[i] > 0 { values[i] *= Float(codeCount) / senders[i] }
    }
  }
}

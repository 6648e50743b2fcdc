/// What an owner makes of the scales that ranks propose for its groups: the largest of them, or the least.
///
/// A rank that proposes 0 has no part in a group: its values are zeros, too small for a scale, or not finite. Otherwise it would hold up
/// all others where the least scale counts.
struct ScaleAgreement {
  private let takesLeast: Bool
  /// The scales that are agreed on; 0 where no rank has a part.
  private(set) var scales: [Float]
  /// Whether a rank has a part in a group, by rank and group.
  private var hasPart: [Bool]

  init(groupCount: Int, rankCount: Int, takesLeast: Bool) {
    self.takesLeast = takesLeast
    scales = Array(repeating: 0, count: groupCount)
    hasPart = Array(repeating: false, count: groupCount * rankCount)
  }

  /// Begins anew, with no rank heard.
  mutating func begin() {
    for group in scales.indices { scales[group] = 0 }
    for place in hasPart.indices { hasPart[place] = false }
  }

  /// Notes what `rank` proposes for each group.
  mutating func hear(_ proposals: UnsafePointer<Float>, of rank: Int) {
    for group in scales.indices where proposals[group] > 0 {
      let (found, proposal) = (scales[group], proposals[group])
      scales[group] = found == 0 ? proposal : takesLeast ? min(found, proposal) : max(found, proposal)
      hasPart[rank * scales.count + group] = true
    }
  }

  /// Whether a rank has a part in a group.
  func includes(_ rank: Int, in group: Int) -> Bool { hasPart[rank * scales.count + group] }
}

/// Consecutive ranges of units, one for each part, balanced by weight.
///
/// Part *j* ends where the cumulative weight first reaches (j + 1)/K of the total, so that every part is within one unit of its
/// share; a part may be empty. With equal weights this is the usual split into parts of ⌊L/K⌋ or ⌈L/K⌉ units.
public struct Partition: Hashable, Sendable {
  /// Part *j* holds the units `ranges[j]`.
  public let ranges: [Range<Int>]

  /// Cuts units into `count` parts; `cumulativeWeights[u]` is the weight of all units before unit `u`, the last one the total.
  public init(cumulativeWeights: [Int], into count: Int) {
    self.init(cumulativeWeights: cumulativeWeights, shares: Array(repeating: 1, count: count))
  }

  /// Cuts units into parts whose weights are as `shares`; a part without a share is empty.
  public init(cumulativeWeights: [Int], shares: [Int]) {
    let count = shares.reduce(0, +)
    require(
      count > 0 && shares.allSatisfy { $0 >= 0 } && !cumulativeWeights.isEmpty,
      "a partition has parts with a share, and weights an end")
    let units = cumulativeWeights.count - 1
    let total = cumulativeWeights[units]
    var ranges: [Range<Int>] = []
    var (start, part) = (0, 0)
    for share in shares {
      part += share
      var end = start
      // The cut nearest to the ideal one; ties go to the earlier cut.
      while share > 0, end < units {
        let here = abs(cumulativeWeights[end] * count - total * part)
        let next = abs(cumulativeWeights[end + 1] * count - total * part)
        guard next < here || part == count else { break }
        end += 1
      }
      ranges.append(start..<end)
      start = end
    }
    self.ranges = ranges
  }

  /// Cuts `count` units of equal weight into `parts`.
  public init(count: Int, into parts: Int) {
    let quotient = count / parts
    let remainder = count % parts
    ranges = (0..<parts).map { part in
      let start = part * quotient + min(part, remainder)
      return start..<start + quotient + (part < remainder ? 1 : 0)
    }
  }

  /// The range of part `index`.
  public subscript(index: Int) -> Range<Int> { ranges[index] }
}

import Buffers
import Testing

@Suite struct PartitionTests {
  @Test("equal units: ⌊L/K⌋ or ⌈L/K⌉ each", arguments: [0, 1, 5, 7, 64, 1000], [1, 2, 3, 5, 8, 13])
  func equalUnits(count: Int, parts: Int) {
    let partition = Partition(count: count, into: parts)
    checkTiling(partition, count: count, parts: parts)
    #expect(partition.ranges.allSatisfy { $0.count == count / parts || $0.count == (count + parts - 1) / parts })
  }

  @Test("weights: every cut is the nearest one to its share", arguments: [1, 2, 3, 5, 8, 13])
  func weights(parts: Int) {
    let random = Philox(seed: 3, purpose: .tests)
    for units in [0, 1, 2, 10, 500] {
      var cumulative = [0]
      for unit in 0..<units { cumulative.append(cumulative[unit] + 1 + Int(random.word(unit) % 100)) }
      let partition = Partition(cumulativeWeights: cumulative, into: parts)
      checkTiling(partition, count: units, parts: parts)
      let total = Double(cumulative.last!)
      for (part, range) in partition.ranges.enumerated().dropLast() {
        let ideal = total * Double(part + 1) / Double(parts)
        let miss = (Double(cumulative[range.upperBound]) - ideal).magnitude
        // No unit is heavier than 100, so the nearest cut is at most 50 away.
        #expect(miss <= 50 || units == 0)
      }
    }
  }

  @Test("parts are as large as their shares, and those without one are empty")
  func shares() {
    func counts(_ shares: [Int], of units: Int = 12) -> [Int] {
      let partition = Partition(cumulativeWeights: (0...units).map { 3 * $0 }, shares: shares)
      checkTiling(partition, count: units, parts: shares.count)
      return partition.ranges.map(\.count)
    }
    #expect(counts([1, 2, 3]) == [2, 4, 6])
    #expect(counts([0, 1, 0, 1, 0]) == [0, 6, 0, 6, 0])
    #expect(counts([0, 0, 7]) == [0, 0, 12] && counts([7, 0]) == [12, 0])
    #expect(counts([5, 0, 1], of: 0) == [0, 0, 0])
    let weights = [0, 4, 5, 9, 20, 21, 40]
    #expect(Partition(cumulativeWeights: weights, shares: [1, 1, 1]) == Partition(cumulativeWeights: weights, into: 3))
  }

  @Test("one heavy unit leaves empty parts")
  func heavyUnit() {
    let partition = Partition(cumulativeWeights: [0, 1, 1001, 1002], into: 4)
    checkTiling(partition, count: 3, parts: 4)
    #expect(partition.ranges.contains { $0.isEmpty })
  }

  private func checkTiling(_ partition: Partition, count: Int, parts: Int) {
    #expect(partition.ranges.count == parts)
    var end = 0
    for range in partition.ranges {
      #expect(range.lowerBound == end)
      end = range.upperBound
    }
    #expect(end == count)
  }
}

import Testing
import _TestSupport
@testable import _TrainingSupport

/// What tests of whole runs rely on.
@Suite(.oneProcess) struct SupportTests {
  @Test(arguments: [[2, 3, 4, 8], [2, 3, 4]], [0, 1, 2, 3, 5, 14, 47])
  func eachCaseRunsAloneAndOnTwoNumbersOfRanks(_ counts: [Int], _ caseCount: Int) {
    let parts = counts.map { (0..<caseCount).dealt(to: counts, on: $0) }
    for number in 0..<caseCount { #expect(parts.count { $0.contains(number) } == 2) }
    #expect(parts.map(\.count).max()! - parts.map(\.count).min()! <= 2)
    for other in [1, 5, 16] { #expect((0..<caseCount).dealt(to: counts, on: other) == Array(0..<caseCount)) }
  }

  @Test func theFarthestValueIsFound() {
    #expect(farthest([1, 2, 3] as [Float], [1, 2.5, 2.75] as [Double]) == (0.5, 1))
    #expect(farthest([] as [Float], [] as [Float]) == (0, 0))
    #expect(farthest([1] as [Float], [] as [Float]).distance == .infinity)
    let nan = farthest([1, .nan, 9] as [Float], [1, 2, 3] as [Float])
    #expect(nan.distance.isNaN && nan.place == 1 && !(nan.distance < 1))
  }
}

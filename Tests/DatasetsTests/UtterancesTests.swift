import Datasets
import Glibc
import Testing

@Suite struct UtterancesTests {
  private let utterances = Utterances(frames: [0..<3], digits: [1], statesPerDigit: 2)

  @Test func sumsLogProbabilitiesOfDigits() {
    // Three frames, two digits of two states, in probabilities.
    let posteriors: [Float] = [0.1, 0.3, 0.35, 0.25, 0.5, 0.1, 0.2, 0.2, 0.05, 0.15, 0.7, 0.1]
    var scores = [0.0, 0.0]
    posteriors.map { log($0) }.withUnsafeBufferPointer { utterances.addScores(of: $0, to: &scores) }
    let expected = [log(0.4 * 0.6 * 0.2), log(0.6 * 0.4 * 0.8)]
    #expect(zip(scores, expected).allSatisfy { abs($0 - $1) < 1e-5 })
    #expect(Utterances.decide(scores) == 1)
  }

  @Test func framesMayComeInPieces() {
    let logarithms: [Float] = [-1, -2, -3, -0.5, -4, -0.1, -2, -2]
    var (whole, pieces) = ([0.0, 0.0], [0.0, 0.0])
    logarithms.withUnsafeBufferPointer { utterances.addScores(of: $0, to: &whole) }
    for start in [0, 4] {
      logarithms.withUnsafeBufferPointer {
        utterances.addScores(of: UnsafeBufferPointer(rebasing: $0[start..<start + 4]), to: &pieces)
      }
    }
    #expect(whole == pieces)
  }

  @Test func impossibleDigitsLoseAndTiesGoToTheLowest() {
    var scores = [0.0, 0.0]
    [Float](arrayLiteral: -.infinity, -.infinity, -90, -.infinity).withUnsafeBufferPointer {
      utterances.addScores(of: $0, to: &scores)
    }
    #expect(scores == [-.infinity, -90])
    #expect(Utterances.decide(scores) == 1 && Utterances.decide([2, 2]) == 0)
  }
}

internal import Buffers

#if canImport(Glibc)
  import Glibc
#endif

/// How the samples of a test split form spoken digits, and how a digit is decided from the posteriors of its frames.
///
/// Class d · `statesPerDigit` + s is state s of digit d. The score of a digit is Σ over frames of log Σ over its states of the
/// posterior, the log probability that all frames belong to the digit if frames were independent; the highest score wins.
public struct Utterances: Hashable, Sendable {
  /// The frames of each utterance, as indices into the test split; utterances lie one after another.
  public let frames: [Range<Int>]
  /// The digit that was spoken in each.
  public let digits: [Int]
  /// The number of classes of one digit.
  public let statesPerDigit: Int

  /// Utterances of these frames and digits.
  public init(frames: [Range<Int>], digits: [Int], statesPerDigit: Int) {
    require(frames.count == digits.count && statesPerDigit > 0, "each utterance has its frames and its digit")
    self.frames = frames
    self.digits = digits
    self.statesPerDigit = statesPerDigit
  }

  /// The number of utterances.
  public var count: Int { digits.count }

  /// Adds what some frames of an utterance contribute to the scores of the digits; frames may come in several calls.
  ///
  /// - Parameters:
  ///   - logPosteriors: by rows, `scores.count * statesPerDigit` natural logarithms for each frame.
  ///   - scores: a running score for each digit, zero before the first frame.
  public func addScores(of logPosteriors: UnsafeBufferPointer<Float>, to scores: inout [Double]) {
    let classCount = scores.count * statesPerDigit
    require(classCount > 0 && logPosteriors.count % classCount == 0, "each frame has \(classCount) log posteriors")
    for row in stride(from: 0, to: logPosteriors.count, by: classCount) {
      for digit in scores.indices {
        let states = row + digit * statesPerDigit..<row + (digit + 1) * statesPerDigit
        let highest = states.reduce(-Float.infinity) { max($0, logPosteriors[$1]) }
        guard highest > -.infinity else {
          scores[digit] = -.infinity
          continue
        }
        let sum = states.reduce(0.0) { $0 + exp(Double(logPosteriors[$1] - highest)) }
        scores[digit] += Double(highest) + log(sum)
      }
    }
  }

  /// The digit with the highest score, the lowest of equals.
  public static func decide(_ scores: [Double]) -> Int {
    scores.indices.reduce(0) { scores[$1] > scores[$0] ? $1 : $0 }
  }
}

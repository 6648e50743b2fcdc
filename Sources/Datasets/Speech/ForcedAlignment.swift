internal import Buffers

/// The most likely path through the states of an utterance: from left to right, none skipped, each for at least one frame.
package enum ForcedAlignment {
  /// Where each state starts in the alignment with the highest sum of scores, found by Viterbi's dynamic programming.
  ///
  /// Among alignments with equal sums, the one whose first transition comes earliest is taken, among these the one whose second
  /// does, and so on. Sums are fp64, added from the last frame to the first. Cost: frames × states additions and comparisons.
  ///
  /// - Parameters:
  ///   - scores: Log likelihoods, by rows of `stateCount`, one row for each frame.
  ///   - stateCount: The number of states, at least one.
  /// - Returns: the first frame of each state, 0 for the first; nil if there are fewer frames than states.
  package static func firstFrames(_ scores: [Double], stateCount: Int) -> [Int]? {
    require(stateCount > 0 && scores.count % stateCount == 0, "a row of scores has one for each of \(stateCount) states")
    let frameCount = scores.count / stateCount
    guard frameCount >= stateCount else { return nil }

    // best[t · states + s]: the highest sum over the frames from t on, of the paths in state s at t that end in the last state.
    var best = scores
    func advances(at frame: Int, from state: Int) -> Bool {
      guard state < stateCount - 1 else { return false }
      let next = (frame + 1) * stateCount + state
      let isLastChance = stateCount - 1 - state == frameCount - 1 - frame
      return isLastChance || best[next + 1] >= best[next]
    }
    for frame in stride(from: frameCount - 2, through: 0, by: -1) {
      // States that can be reached at this frame, and from which the last can still be reached.
      for state in max(0, stateCount - frameCount + frame)...min(frame, stateCount - 1) {
        let next = (frame + 1) * stateCount + state
        best[frame * stateCount + state] += advances(at: frame, from: state) ? best[next + 1] : best[next]
      }
    }

    var starts = [0]
    for frame in 0..<frameCount - 1 where advances(at: frame, from: starts.count - 1) { starts.append(frame + 1) }
    return starts
  }
}

import Buffers
import Datasets
import Testing

@Suite struct ForcedAlignmentTests {
  /// All ways to cut `frameCount` frames into `stateCount` parts of at least one, in the order of their first changes, second, ….
  private func segmentations(_ frameCount: Int, _ stateCount: Int, from start: Int = 0) -> [[Int]] {
    if stateCount == 1 { return start < frameCount ? [[start]] : [] }
    guard start < frameCount else { return [] }
    return (start + 1..<max(frameCount, start + 1)).flatMap { next in
      segmentations(frameCount, stateCount - 1, from: next).map { [start] + $0 }
    }
  }

  private func score(_ starts: [Int], _ scores: [Double], _ stateCount: Int) -> Double {
    let ends = starts.dropFirst() + [scores.count / stateCount]
    return zip(starts, ends).enumerated().reduce(0) { sum, part in
      (part.element.0..<part.element.1).reduce(sum) { $0 + scores[$1 * stateCount + part.offset] }
    }
  }

  /// Few different values, so that many alignments are equally good; their sums are exact.
  @Test(arguments: 1...4, [2, 5, 100])
  func isTheBestOfAllSegmentationsAndTheEarliestOfEquals(stateCount: Int, values: Int) {
    let random = Philox(seed: UInt64(values), purpose: .tests)
    for frameCount in 0...9 {
      for draw in 0..<20 {
        let scores = (0..<frameCount * stateCount).map { index in
          -Double(Int(random.word(index + draw * 1000 + frameCount * 100_000)) % values)
        }
        let all = segmentations(frameCount, stateCount)
        let highest = all.map { score($0, scores, stateCount) }.max()
        let expected = all.first { score($0, scores, stateCount) == highest }
        #expect(ForcedAlignment.firstFrames(scores, stateCount: stateCount) == expected, "\(scores)")
      }
    }
  }

  @Test func everyStateHasAFrameThoughItIsImpossible() {
    let scores: [Double] = [0, -.infinity, -.infinity, 0, -.infinity, -.infinity, 0, -.infinity, -.infinity]
    #expect(ForcedAlignment.firstFrames(scores, stateCount: 3) == [0, 1, 2])
    #expect(ForcedAlignment.firstFrames(Array(scores.dropLast(3)), stateCount: 3) == nil)
    #expect(ForcedAlignment.firstFrames([], stateCount: 1) == nil)
    #expect(ForcedAlignment.firstFrames([-5, -.infinity], stateCount: 1) == [0])
    // Values that are not numbers still give an alignment, the same everywhere.
    #expect(ForcedAlignment.firstFrames(Array(repeating: .nan, count: 8), stateCount: 2) == [0, 3])
  }
}

@Suite struct RealignableTests {
  private func speech(states: Int) throws -> (SpeechDataset, TemporaryDirectory) {
    let directory = TemporaryDirectory()
    directory.makeFolder("recordings")
    // Frames: 1 + (samples − 200) / 80.
    for (name, frameCount) in [("1_a_0.wav", 4), ("1_a_5.wav", 6), ("3_a_6.wav", 2), ("3_b_7.wav", 5)] {
      let samples = (0..<200 + 80 * (frameCount - 1)).map { Int16(truncatingIfNeeded: $0 * $0 % 7001) }
      directory.write(wav(samples), to: "recordings/\(name)")
    }
    let data = try SpeechDataset(
      directory: directory.path, stateCount: states, melCount: 8, contextCount: 1, specification: "speech:test")
    return (data, directory)
  }

  private func align(
    _ data: SpeechDataset, _ utterance: Int, frames: Int, priors: [Double]? = nil,
    _ likelihood: (_ frame: Int, _ class: Int) -> Float
  ) -> [Int]? {
    let values = (0..<frames * data.classCount).map { likelihood($0 / data.classCount, $0 % data.classCount) }
    return values.withUnsafeBufferPointer {
      data.align(
        utterance, of: .train, logPosteriors: $0, logPriors: priors ?? Array(repeating: 0, count: data.classCount))
    }
  }

  @Test func theStatesOfTheSpokenDigitAreAligned() throws {
    let (data, _) = try speech(states: 3)
    #expect(data.frames(ofUtterances: .train) == [0..<6, 6..<8, 8..<13] && data.frames(ofUtterances: .test) == [0..<4])
    #expect((0..<6).map { data.label($0, of: .train) } == [3, 3, 4, 4, 5, 5])
    #expect((8..<13).map { data.label($0, of: .train) } == [9, 9, 10, 10, 11])
    // The model would rather have another digit; it is not asked.
    let found = align(data, 0, frames: 6) { frame, label in
      label < 3 ? 0 : label == (frame < 1 ? 3 : frame < 5 ? 4 : 5) ? -1 : -4
    }
    #expect(found == [3, 4, 4, 4, 4, 5])
    #expect(align(data, 2, frames: 5) { _, _ in -2 } == [9, 10, 11, 11, 11])
  }

  @Test func shortUtterancesKeepTheirLabels() throws {
    let (data, _) = try speech(states: 3)
    #expect(align(data, 1, frames: 2) { _, _ in -1 } == nil)
  }

  @Test func priorsAreTakenOut() throws {
    let (data, _) = try speech(states: 2)
    // Equal posteriors say that the rarer state is the likelier one.
    var priors = Array(repeating: -3.0, count: 20)
    priors[6] = -1
    #expect(align(data, 2, frames: 5, priors: priors) { _, _ in -1 } == [6, 7, 7, 7, 7])
    priors[6] = -5
    #expect(align(data, 2, frames: 5, priors: priors) { _, _ in -1 } == [6, 6, 6, 6, 7])
  }
}

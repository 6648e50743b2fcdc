import Buffers
import Datasets
import Testing

@Suite struct SpeechTests {
  /// Two speakers, two digits, numbers 3 to 6, each recording of another length.
  private func recordings() -> TemporaryDirectory {
    let directory = TemporaryDirectory()
    directory.makeFolder("recordings")
    for (place, name) in names.enumerated() {
      directory.write(wav(noise(480 + 90 * place, seed: place)), to: "recordings/\(name)")
    }
    directory.write(Array("read me".utf8), to: "recordings/README.txt")
    return directory
  }
  // In the order of their bytes, which is the order of the data set.
  private let names = ["2_a_3.wav", "2_a_4.wav", "2_a_5.wav", "2_b_6.wav", "7_a_4.wav", "7_a_5.wav"]

  private func noise(_ count: Int, seed: Int) -> [Int16] {
    let random = Philox(seed: UInt64(seed), purpose: .tests)
    return (0..<count).map { Int16(truncatingIfNeeded: Int(random.word($0) & 0xFFF) * ($0 / 200 % 3 + 1)) }
  }

  private func read(_ directory: TemporaryDirectory, states: Int = 6, mels: Int = 8, context: Int = 2) throws -> SpeechDataset {
    try SpeechDataset(
      directory: directory.path, stateCount: states, melCount: mels, contextCount: context, specification: "speech:test")
  }

  private func frameCount(_ place: Int) -> Int { 1 + (480 + 90 * place - 200) / 80 }

  @Test func splitsByNumberAndLabelsByUniformAlignment() throws {
    let data = try read(recordings())
    #expect(data.classCount == 60 && data.featureCount == 8 * 5)
    for (split, places) in [(Split.test, [0, 1, 4]), (.train, [2, 3, 5])] {
      let count = places.map(frameCount).reduce(0, +)
      #expect(data.count(split) == count)
      let batch = Minibatch(capacity: count, featureCount: data.featureCount)
      data.load(0..<count, of: split, into: batch)
      let expected = places.flatMap { place in
        (0..<frameCount(place)).map { Int32((place < 4 ? 2 : 7) * 6 + $0 * 6 / frameCount(place)) }
      }
      #expect(batch.labels == expected)
    }
    let ends = [0, frameCount(0), frameCount(0) + frameCount(1), data.count(.test)]
    #expect(
      data.utterances
        == Utterances(frames: [ends[0]..<ends[1], ends[1]..<ends[2], ends[2]..<ends[3]], digits: [2, 2, 7], statesPerDigit: 6))
  }

  @Test func contextsRepeatTheEdgesOfARecording() throws {
    let directory = recordings()
    let (narrow, wide) = (try read(directory, context: 0), try read(directory, context: 5))
    let count = narrow.count(.train)
    let (frames, contexts) = (Minibatch(capacity: count, featureCount: 8), Minibatch(capacity: count, featureCount: 88))
    narrow.load(0..<count, of: .train, into: frames)
    wide.load(0..<count, of: .train, into: contexts)
    var start = 0
    for place in [2, 3, 5] {
      let last = start + frameCount(place) - 1
      for frame in start...last {
        for offset in -5...5 {
          let neighbour = min(max(frame + offset, start), last)
          let place = frame * 88 + (offset + 5) * 8
          #expect(
            Array(contexts.inputs.values(in: place..<place + 8))
              == Array(frames.inputs.values(in: neighbour * 8..<neighbour * 8 + 8)))
        }
      }
      start = last + 1
    }
  }

  @Test func trainingInputsHaveUnitVariance() throws {
    let data = try read(recordings(), context: 0)
    let count = data.count(.train)
    let batch = Minibatch(capacity: count, featureCount: 8)
    data.load(0..<count, of: .train, into: batch)
    for coefficient in 0..<8 {
      let (mean, deviation) = moments((0..<count).map { batch.inputs[$0 * 8 + coefficient] })
      #expect(abs(mean) < 1e-5 && abs(deviation - 1) < 1e-5)
    }
  }

  /// Names in capitals, and what systems leave beside recordings.
  @Test func takesNamesInCapitalsAndPassesOverTheRest() throws {
    let directory = TemporaryDirectory()
    directory.makeFolder("recordings")
    for (place, name) in names.enumerated() {
      let name = place % 2 == 0 ? name.replacing(".wav", with: ".WAV") : name
      directory.write(wav(noise(480 + 90 * place, seed: place)), to: "recordings/\(name)")
      directory.write([0, 5, 22, 7], to: "recordings/._\(name)")
    }
    for name in [".DS_Store", "Thumbs.db", "notes.wav.txt"] { directory.write([1], to: "recordings/\(name)") }
    let (found, expected) = (try read(directory), try read(recordings()))
    #expect(found.utterances == expected.utterances && found.count(.train) == expected.count(.train))
  }

  @Test func fingerprintFollowsTheFiles() throws {
    let directory = recordings()
    let first = try read(directory).fingerprint
    #expect(try read(recordings()).fingerprint == first)
    #expect(try read(directory, states: 3).fingerprint == first)
    directory.write(wav(noise(480, seed: 99)), to: "recordings/2_a_3.wav")
    #expect(try read(directory).fingerprint != first)
  }

  @Test func refusesWhatItCannotUse() {
    let cases: [(name: String, content: [UInt8], fragments: [String])] = [
      ("2_a.wav", wav(noise(480, seed: 1)), ["2_a.wav'", "is not named {digit}_{speaker}_{number}.wav"]),
      ("3_a_0.wav", wav(noise(199, seed: 1)), ["3_a_0.wav'", "199 samples, less than one window of 200"]),
      ("3_a_0.wav", wav([]), ["3_a_0.wav'", "no samples"]),
      ("3_a_0.wav", Array(wav(noise(480, seed: 1)).dropLast(7)), ["3_a_0.wav'", "truncated"]),
    ]
    for (name, content, fragments) in cases {
      let directory = recordings()
      directory.write(content, to: "recordings/\(name)")
      for fragment in fragments { expectDataError(fragment) { _ = try read(directory) } }
    }
  }

  @Test func namesWhatIsMissing() {
    let directory = TemporaryDirectory()
    expectDataError("'\(directory.path)/recordings'", "holds recordings/") { _ = try read(directory) }
    directory.makeFolder("recordings")
    expectDataError("holds no .wav files") { _ = try read(directory) }
    directory.write(wav(noise(480, seed: 1)), to: "recordings/1_a_0.wav")
    expectDataError("no recordings numbered from 5 on") { _ = try read(directory) }
    directory.remove("recordings/1_a_0.wav")
    directory.write(wav(noise(480, seed: 1)), to: "recordings/1_a_9.wav")
    expectDataError("no recordings numbered 0 to 4") { _ = try read(directory) }
  }

  @Test(.enabled(if: sharedData("free-spoken-digits") != nil, "the spoken digits are not in ../shared/data"))
  func readsFreeSpokenDigits() throws {
    let data = try datasets.make("speech:\(sharedData("free-spoken-digits")!)")(1)
    #expect(data.featureCount == 440 && data.classCount == 60)
    #expect(data.utterances?.count == 300 && data.utterances?.frames.last?.upperBound == data.count(.test))
    #expect((0..<10).allSatisfy { digit in data.utterances?.digits.count { $0 == digit } == 30 })
    let batch = Minibatch(capacity: 20_000, featureCount: 440)
    data.load(0..<20_000, of: .train, into: batch)
    let (mean, deviation) = moments(Array(batch.inputs.values))
    #expect(abs(mean) < 0.05 && abs(deviation - 1) < 0.1)
  }
}

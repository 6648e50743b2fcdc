public import Buffers

/// Spoken digits for an acoustic model: a sample is a frame with its neighbours; its class is the digit and the part of it.
///
/// Frames hold `melCount` values (`LogMelAnalysis`), divided by their deviation over the training frames. Contexts are
/// assembled when a sample is read; beyond the ends of a recording, its first and last frames are repeated. The class of frame
/// t of T in digit d is d · states + ⌊t · states / T⌋. Recordings 0 to 4 of each speaker and digit are the test split.
public final class SpeechDataset: RealignableDataset {
  public let specification: String
  public let featureCount: Int
  public let classCount: Int
  public let fingerprint: UInt64
  public let utterances: Utterances?

  private let parts: [Frames]
  private let stateCount: Int
  private let melCount: Int
  private let contextCount: Int

  /// The frames of one split, recording after recording.
  private struct Frames: Sendable {
    var features: [Float] = []
    var labels: [UInt16] = []
    /// For each frame, its recording.
    var recordings: [Int32] = []
    /// For each recording, its frames.
    var ranges: [Range<Int>] = []
    var digits: [Int] = []
  }

  /// Reads every `{digit}_{speaker}_{number}.wav` in `directory/recordings` and computes the frames.
  ///
  /// Files that do not end in `.wav` or `.WAV` are skipped, and so are those whose names begin with a dot.
  public init(
    directory: String, stateCount: Int = 6, melCount: Int = 40, contextCount: Int = 5, specification: String
  ) throws(DataError) {
    let folder = "\(directory)/recordings"
    let names = try namesInDirectory(folder, advice: "speech:DIR is the directory that holds recordings/")
      .filter(RecordingName.isRecording)
    guard !names.isEmpty else {
      throw DataError("the directory '\(folder)' holds no .wav files; it should hold {digit}_{speaker}_{number}.wav")
    }
    let analysis = LogMelAnalysis(melCount: melCount)
    var parts = [Frames(), Frames()]
    var hashes: [UInt64] = []
    for name in names {
      let path = "\(folder)/\(name)"
      guard let recording = RecordingName(name) else {
        throw DataError("'\(path)' is not named {digit}_{speaker}_{number}.wav; rename or remove it")
      }
      let content = try readFile(path)
      hashes.append(XXHash64.hash(name))
      hashes.append(hash(content))
      let samples = try WAVFile(content, path: path).samples
      let frameCount = analysis.frameCount(sampleCount: samples.count)
      guard frameCount > 0 else {
        throw DataError(
          "'\(path)' has \(samples.count) samples, less than one window of \(LogMelAnalysis.windowLength); remove it, or record it again"
        )
      }
      let split = recording.split.rawValue
      let start = parts[split].labels.count
      analysis.appendFrames(of: samples, to: &parts[split].features)
      for frame in 0..<frameCount {
        parts[split].labels.append(UInt16(recording.digit * stateCount + frame * stateCount / frameCount))
      }
      parts[split].recordings.append(contentsOf: repeatElement(Int32(parts[split].ranges.count), count: frameCount))
      parts[split].ranges.append(start..<start + frameCount)
      parts[split].digits.append(recording.digit)
    }
    guard !parts[0].ranges.isEmpty, !parts[1].ranges.isEmpty else {
      let missing = parts[1].ranges.isEmpty ? "0 to 4, which are the test split" : "from 5 on, which are the training split"
      throw DataError("'\(folder)' has no recordings numbered \(missing); add some")
    }
    let reciprocals = reciprocalDeviations(parts[0].features, coefficientCount: melCount)
    for split in parts.indices { scale(&parts[split].features, by: reciprocals) }
    self.parts = parts
    self.stateCount = stateCount
    self.melCount = melCount
    self.contextCount = contextCount
    self.specification = specification
    featureCount = melCount * (2 * contextCount + 1)
    classCount = 10 * stateCount
    fingerprint = combinedHash(hashes)
    utterances = Utterances(frames: parts[1].ranges, digits: parts[1].digits, statesPerDigit: stateCount)
  }

  public func count(_ split: Split) -> Int { parts[split.rawValue].labels.count }

  public func read(
    _ index: Int, of split: Split, variation: Philox?, into inputs: UnsafeMutablePointer<Float>,
    labels: UnsafeMutablePointer<Int32>
  ) {
    let part = parts[split.rawValue]
    let range = part.ranges[Int(part.recordings[index])]
    part.features.withUnsafeBufferPointer { features in
      for offset in -contextCount...contextCount {
        let frame = min(max(index + offset, range.lowerBound), range.upperBound - 1)
        (inputs + (offset + contextCount) * melCount).update(
          from: features.baseAddress! + frame * melCount, count: melCount)
      }
    }
    labels[0] = Int32(label(index, of: split))
  }

  public func frames(ofUtterances split: Split) -> [Range<Int>] { parts[split.rawValue].ranges }

  public func label(_ index: Int, of split: Split) -> Int { Int(parts[split.rawValue].labels[index]) }

  /// The Viterbi alignment of the states of the digit that was spoken (`ForcedAlignment`).
  ///
  /// The score of a state at a frame is its log posterior minus its log prior, the log likelihood up to a term that all states
  /// share. An utterance with fewer frames than states keeps its labels.
  public func align(
    _ utterance: Int, of split: Split, logPosteriors: UnsafeBufferPointer<Float>, logPriors: [Double]
  ) -> [Int]? {
    let frameCount = parts[split.rawValue].ranges[utterance].count
    require(
      logPosteriors.count == frameCount * classCount && logPriors.count == classCount,
      "an utterance of \(frameCount) frames has as many rows of \(classCount) log posteriors")
    let first = parts[split.rawValue].digits[utterance] * stateCount
    var scores: [Double] = []
    scores.reserveCapacity(frameCount * stateCount)
    for frame in 0..<frameCount {
      for state in first..<first + stateCount {
        scores.append(Double(logPosteriors[frame * classCount + state]) - logPriors[state])
      }
    }
    guard let starts = ForcedAlignment.firstFrames(scores, stateCount: stateCount) else { return nil }
    let ends = starts.dropFirst() + [frameCount]
    return zip(starts, ends).enumerated().flatMap { state, frames in
      Array(repeating: first + state, count: frames.1 - frames.0)
    }
  }
}

/// One over the standard deviation of each coefficient (its mean is zero by construction), in fp64; 0 if it never varies.
private func reciprocalDeviations(_ features: [Float], coefficientCount: Int) -> [Float] {
  var squares = [Double](repeating: 0, count: coefficientCount)
  for start in stride(from: 0, to: features.count, by: coefficientCount) {
    for coefficient in 0..<coefficientCount {
      let value = Double(features[start + coefficient])
      squares[coefficient] += value * value
    }
  }
  let frameCount = Double(features.count / coefficientCount)
  return squares.map { $0 > 0 ? Float(1 / ($0 / frameCount).squareRoot()) : 0 }
}

/// Multiplies every frame by a factor for each coefficient.
private func scale(_ features: inout [Float], by factors: [Float]) {
  features.withUnsafeMutableBufferPointer { features in
    for start in stride(from: 0, to: features.count, by: factors.count) {
      for coefficient in factors.indices { features[start + coefficient] *= factors[coefficient] }
    }
  }
}

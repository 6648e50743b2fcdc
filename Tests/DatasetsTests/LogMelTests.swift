import Buffers
import Datasets
import Glibc
import Testing

/// The features by their definition, in fp64, with a sum over the window for every bin.
private func reference(_ samples: [Int16], melCount: Int) -> [[Double]] {
  let emphasised = samples.indices.map { Double(samples[$0]) / 32768 - 0.97 * Double(samples[max($0 - 1, 0)]) / 32768 }
  func mel(_ frequency: Double) -> Double { 1127 * log(1 + frequency / 700) }
  let edges = (0...melCount + 1).map { 700 * (exp(mel(4000) * Double($0) / Double(melCount + 1) / 1127) - 1) }
  var frames: [[Double]] = []
  for start in stride(from: 0, through: samples.count - 200, by: 80) {
    let windowed = (0..<200).map { time -> Double in
      let window = 0.54 - 0.46 * cos(2 * Double.pi * Double(time) / 199)
      return emphasised[start + time] * window
    }
    let powers = (0...128).map { bin in
      var (real, imaginary) = (0.0, 0.0)
      for (time, value) in windowed.enumerated() {
        real += value * cos(2 * .pi * Double(bin * time) / 256)
        imaginary -= value * sin(2 * .pi * Double(bin * time) / 256)
      }
      return real * real + imaginary * imaginary
    }
    frames.append(
      (0..<melCount).map { filter in
        var energy = 0.0
        for (bin, power) in powers.enumerated() {
          let frequency = 31.25 * Double(bin)
          let rise = (frequency - edges[filter]) / (edges[filter + 1] - edges[filter])
          let fall = (edges[filter + 2] - frequency) / (edges[filter + 2] - edges[filter + 1])
          energy += max(0, min(rise, fall)) * power
        }
        return log(max(energy, 1e-8))
      })
  }
  for coefficient in 0..<melCount {
    let mean = frames.reduce(0) { $0 + $1[coefficient] } / Double(frames.count)
    for frame in frames.indices { frames[frame][coefficient] -= mean }
  }
  return frames
}

@Suite struct LogMelTests {
  /// Noise of changing loudness under a gliding tone.
  private func signal(_ count: Int) -> [Int16] {
    let random = Philox(seed: 3, purpose: .tests)
    return (0..<count).map { time in
      let tone = 9000 * sin(2 * .pi * Double(time) * (0.05 + 0.0001 * Double(time)))
      let noise = (Double(random.uniform(time)) - 0.5) * (time / 300 % 2 == 0 ? 4000 : 40)
      return Int16(tone + noise)
    }
  }

  @Test(arguments: [200, 279, 280, 1400, 1480, 2760, 3000]) func agreesWithTheDefinition(sampleCount: Int) {
    let samples = signal(sampleCount)
    let analysis = LogMelAnalysis(melCount: 40)
    var features: [Float] = [1, 2, 3]
    analysis.appendFrames(of: samples, to: &features)
    let expected = reference(samples, melCount: 40)
    #expect(analysis.frameCount(sampleCount: sampleCount) == expected.count)
    #expect(features.count == 3 + expected.count * 40 && features[..<3] == [1, 2, 3])
    for (found, expected) in zip(features[3...], expected.joined()) {
      #expect(abs(Double(found) - expected) < 1e-3)
    }
  }

  @Test func everyNumberOfFiltersAgrees() {
    for melCount in [4, 23, 64] {
      var features: [Float] = []
      LogMelAnalysis(melCount: melCount).appendFrames(of: signal(600), to: &features)
      for (found, expected) in zip(features, reference(signal(600), melCount: melCount).joined()) {
        #expect(abs(Double(found) - expected) < 1e-3)
      }
    }
  }

  @Test func silenceIsZero() {
    var features: [Float] = []
    LogMelAnalysis(melCount: 40).appendFrames(of: [Int16](repeating: 0, count: 500), to: &features)
    #expect(features.count == 4 * 40 && features.allSatisfy { $0 == 0 })
  }

  @Test func lessThanAWindowHasNoFrames() {
    let analysis = LogMelAnalysis(melCount: 40)
    var features: [Float] = []
    for count in [0, 1, 199] {
      #expect(analysis.frameCount(sampleCount: count) == 0)
      analysis.appendFrames(of: signal(count), to: &features)
    }
    #expect(features.isEmpty)
  }
}

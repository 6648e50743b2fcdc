#if canImport(Glibc)
  import Glibc
#endif

/// Converts recordings to frames of log-mel energies, the input of acoustic models.
///
/// Windows of 25 ms every 10 ms at 8 kHz; pre-emphasis 0.97; Hamming window; power spectrum of 256 points; triangular filters
/// equally spaced on the mel scale m = 1127 ln(1 + f / 700) from 0 to 4 kHz; natural logarithm above a floor; minus the mean of
/// each coefficient over the recording.
///
/// Sines, cosines and logarithms are computed by the system in fp64 and rounded to fp32, so features on two systems differ, if
/// at all, in the last bits.
package struct LogMelAnalysis: Sendable {
  /// Samples in a window: 25 ms.
  package static let windowLength = 200
  /// Samples from one window to the next: 10 ms.
  package static let step = 80
  /// Points of the transform; the window is padded with zeros.
  package static let transformLength = 256
  /// Energies below this are raised to it: about the noise of rounding to 16 bits.
  package static let floor: Float = 1e-8

  /// The number of filters.
  package let melCount: Int
  private let window: [Float]
  private let transform = FourierTransform(count: transformLength)
  /// For each filter, its first bin and the weights from there on.
  private let filters: [(firstBin: Int, weights: [Float])]
  /// Frames in a batch: eight lanes, two frames in each as the real and the imaginary part of one signal.
  private static let batchCount = 16

  /// An analysis with `melCount` filters.
  package init(melCount: Int) {
    self.melCount = melCount
    window = (0..<Self.windowLength).map {
      Float((0.54 - 0.46 * cos(2 * Double.pi * Double($0) / Double(Self.windowLength - 1))) / 32768)
    }
    let nyquist = Double(WAVFile.sampleRate) / 2
    let highest = 1127 * log(1 + nyquist / 700)
    let edges = (0..<melCount + 2).map { 700 * (exp(highest * Double($0) / Double(melCount + 1) / 1127) - 1) }
    let binWidth = Double(WAVFile.sampleRate) / Double(Self.transformLength)
    filters = (0..<melCount).map { filter in
      let (low, middle, high) = (edges[filter], edges[filter + 1], edges[filter + 2])
      let weights = (0...Self.transformLength / 2).map { bin in
        let frequency = Double(bin) * binWidth
        return Float(max(0, min((frequency - low) / (middle - low), (high - frequency) / (high - middle))))
      }
      let first = weights.firstIndex { $0 > 0 } ?? 0
      let last = weights.lastIndex { $0 > 0 } ?? 0
      return (first, Array(weights[first...last]))
    }
  }

  /// The number of whole windows in `sampleCount` samples.
  package func frameCount(sampleCount: Int) -> Int {
    sampleCount < Self.windowLength ? 0 : 1 + (sampleCount - Self.windowLength) / Self.step
  }

  /// Appends the frames of a recording, `melCount` values each, to `features`.
  package func appendFrames(of samples: [Int16], to features: inout [Float]) {
    let frameCount = frameCount(sampleCount: samples.count)
    let start = features.count
    features.append(contentsOf: repeatElement(0, count: frameCount * melCount))
    features.withUnsafeMutableBufferPointer { buffer in
      guard frameCount > 0 else { return }
      let frames = buffer.baseAddress! + start
      analyze(emphasize(samples), frameCount: frameCount, into: frames)
      subtractMeans(frames, frameCount: frameCount)
    }
  }

  /// x[t] − 0.97 x[t − 1]; the first sample is preceded by its own value.
  private func emphasize(_ samples: [Int16]) -> [Float] {
    var previous = Float(samples[0])
    return samples.map { sample in
      let value = Float(sample)
      defer { previous = value }
      return value - 0.97 * previous
    }
  }

  private func analyze(_ signal: [Float], frameCount: Int, into frames: UnsafeMutablePointer<Float>) {
    let count = Self.transformLength
    withUnsafeTemporaryAllocation(of: SIMD8<Float>.self, capacity: 2 * count) { memory in
      let (real, imaginary) = (memory.baseAddress!, memory.baseAddress! + count)
      for first in stride(from: 0, to: frameCount, by: Self.batchCount) {
        memory.update(repeating: SIMD8())
        loadWindows(signal, firstFrame: first, frameCount: frameCount, real, imaginary)
        transform.transform(real, imaginary)
        powers(real, imaginary)
        for (filter, (firstBin, weights)) in filters.enumerated() {
          var energies = (SIMD8<Float>(), SIMD8<Float>())
          for (index, weight) in weights.enumerated() {
            energies.0 += real[firstBin + index] * weight
            energies.1 += imaginary[firstBin + index] * weight
          }
          for lane in 0..<min(8, frameCount - first) {
            frames[(first + lane) * melCount + filter] = logarithm(energies.0[lane])
          }
          for lane in 0..<max(0, min(8, frameCount - first - 8)) {
            frames[(first + 8 + lane) * melCount + filter] = logarithm(energies.1[lane])
          }
        }
      }
    }
  }

  private func logarithm(_ energy: Float) -> Float { Float(log(Double(max(energy, Self.floor)))) }

  /// Puts frames `firstFrame` … + 7 into the lanes of the real part, the next eight into those of the imaginary part.
  private func loadWindows(
    _ signal: [Float], firstFrame: Int, frameCount: Int, _ real: UnsafeMutablePointer<SIMD8<Float>>,
    _ imaginary: UnsafeMutablePointer<SIMD8<Float>>
  ) {
    signal.withUnsafeBufferPointer { signal in
      for frame in firstFrame..<min(firstFrame + Self.batchCount, frameCount) {
        let lane = (frame - firstFrame) & 7
        let part = UnsafeMutableRawPointer(frame - firstFrame < 8 ? real : imaginary)
          .assumingMemoryBound(to: Float.self)
        for index in 0..<Self.windowLength {
          part[transform.places[index] * 8 + lane] = signal[frame * Self.step + index] * window[index]
        }
      }
    }
  }

  /// Replaces the transforms of a + ib by |A|² and |B|² in the bins 0 … count / 2: A is even, B odd under conjugation.
  private func powers(_ real: UnsafeMutablePointer<SIMD8<Float>>, _ imaginary: UnsafeMutablePointer<SIMD8<Float>>) {
    let count = Self.transformLength
    for bin in 0...count / 2 {
      let mirror = (count - bin) % count
      let (x, y) = (real[bin], imaginary[bin])
      let (u, v) = (real[mirror], imaginary[mirror])
      let (sumReal, differenceReal) = (x + u, x - u)
      let (sumImaginary, differenceImaginary) = (y + v, y - v)
      real[bin] = (sumReal * sumReal + differenceImaginary * differenceImaginary) * 0.25
      imaginary[bin] = (sumImaginary * sumImaginary + differenceReal * differenceReal) * 0.25
    }
  }

  private func subtractMeans(_ frames: UnsafeMutablePointer<Float>, frameCount: Int) {
    for coefficient in 0..<melCount {
      var sum = 0.0
      for frame in 0..<frameCount { sum += Double(frames[frame * melCount + coefficient]) }
      let mean = Float(sum / Double(frameCount))
      for frame in 0..<frameCount { frames[frame * melCount + coefficient] -= mean }
    }
  }
}

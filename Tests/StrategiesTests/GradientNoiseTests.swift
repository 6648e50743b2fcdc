import Buffers
import Strategies
import Testing
import Trainer
import _TestSupport

@Suite(.oneProcess) struct GradientNoiseTests {
  /// Gradients of known signal and noise: a fixed vector, and a draw for every sample.
  @Test(arguments: [[8, 8, 8, 8], [5, 3, 0, 4], [1, 1]], [0.0, 0.05, 1.0])
  func findsTheShareOfTheSignal(sampleCounts: [Int], signal: Double) throws {
    let length = 400
    let random = Philox(seed: 4, purpose: .tests)
    let sampleCount = sampleCounts.reduce(0, +)
    var noise = GradientNoise()
    var share: Double?
    var draw = 0
    for step in 0..<GradientNoise.window + 3 {
      var sum = Array(repeating: 0.0, count: length)
      var contributionSquares = 0.0
      for count in sampleCounts {
        var own = Array(repeating: 0.0, count: length)
        for _ in 0..<count {
          for i in own.indices {
            // Uniform with variance 1.
            let value = (Double(random.uniform(draw)) - 0.5) * 12.0.squareRoot()
            own[i] += (signal + value) / Double(sampleCount)
            draw += 1
          }
        }
        contributionSquares += own.reduce(0) { $0 + $1 * $1 }
        for i in own.indices { sum[i] += own[i] }
      }
      noise.add(
        contributionSquares: contributionSquares, sumSquares: sum.reduce(0) { $0 + $1 * $1 }, sampleCounts: sampleCounts)
      share = noise.share
      #expect((share != nil) == (step >= GradientNoise.window - 1))
    }
    let expected = signal * signal / (signal * signal + 1 / Double(sampleCount))
    #expect(abs(try #require(share) - expected) < 0.05)
  }

  @Test func oneRankWithAllSamplesTellsNothing() {
    var noise = GradientNoise()
    for _ in 0..<40 { noise.add(contributionSquares: 2, sumSquares: 2, sampleCounts: [7, 0]) }
    #expect(noise.share == nil)
  }

  @Test func whatIsRememberedComesBack() {
    var noise = GradientNoise()
    for step in 0..<20 { noise.add(contributionSquares: 1 / Double(step + 3), sumSquares: 0.7, sampleCounts: [3, 4]) }
    var copy = GradientNoise(text: noise.text)
    #expect(copy.text == noise.text && GradientNoise(text: "").text == "")
    #expect(copy.share == noise.share && copy.share != nil)
    copy.add(contributionSquares: 0.1, sumSquares: 0.3, sampleCounts: [2, 2])
    noise.add(contributionSquares: 0.1, sumSquares: 0.3, sampleCounts: [2, 2])
    #expect(copy.share == noise.share && copy.text == noise.text)
  }
}

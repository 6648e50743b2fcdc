import Codecs
import Foundation
import Testing

/// Differences on a grid, against plain lines (algorithms §5.6).
@Suite struct DifferenceGridTests {
  private static let counts = [0, 1, 2, 7, 31, 32, 33, 100]

  /// The message of `values`, with a word behind it that nothing may touch, and what the sender then knows.
  private func encode(_ grid: DifferenceGrid, _ values: [Float], _ known: [Float]) -> (
    message: [Float], known: [Float], radius: Float
  ) {
    var known = known
    let radius = grid.radius(of: values, from: known, count: values.count)
    var message = [Float](repeating: 7, count: grid.floatCount(of: values.count) + 1)
    grid.encode(values, moving: &known, count: values.count, radius: radius, into: &message)
    #expect(message.removeLast() == 7)
    return (message, known, radius)
  }

  @Test(arguments: 1...16) func bothSidesKnowThePointsOfThePlainGrid(_ bits: Int) {
    let grid = DifferenceGrid(bits: bits)
    let levels = pow(2, Double(bits)) - 1
    for count in Self.counts {
      for gradients in [Gradients.normal, .wide] {
        let (g, q) = (gradients.values(count, seed: 3), gradients.values(count, seed: 4))
        let (message, known, radius) = encode(grid, g, q)
        // 4 bytes and b bits a value, in whole words.
        #expect(message.count == (count == 0 ? 0 : 1 + Int((Double(count * bits) / 32).rounded(.up))))
        var received = q
        grid.decode(message, moving: &received, count: count)
        #expect(received.map(\.bitPattern) == known.map(\.bitPattern))
        let r = Double(zip(g, q).map { Float(abs(Double($0) - Double($1))) }.max() ?? 0)
        #expect(Double(radius) == r)
        var (change, error) = (0.0, 0.0)
        for i in 0..<count {
          let code = min(levels, ((Double(g[i]) - Double(q[i]) + r) * levels / (2 * r) + 0.5).rounded(.down))
          let expected = r > 0 ? Float(Double(q[i]) - r + 2 * r * code / levels) : q[i]
          #expect(abs(known[i] - expected) <= expected.ulp)
          #expect(
            abs(Double(g[i]) - Double(known[i])) <= r / levels * (1 + 1e-6) + Double(known[i].ulp), "value \(i) of \(count)")
          change += pow(Double(known[i]) - Double(q[i]), 2)
          error += pow(Double(g[i]) - Double(known[i]), 2)
        }
        let preview = grid.preview(of: g, from: q, count: count, radius: radius)
        #expect(abs(preview.change - change) <= 1e-12 * change && abs(preview.error - error) <= 1e-12 * error)
      }
    }
  }

  /// A trace: R = 0.3, four points from −0.3 to 0.3.
  @Test func fourPoints() {
    let (message, known, radius) = encode(DifferenceGrid(bits: 2), [0.3, -0.25, 0.05, 0.15], [0, 0, 0, 0])
    #expect(radius == 0.3 && message[1].bitPattern == 0b10_10_00_11)
    for (found, expected) in zip(known, [0.3, -0.3, 0.1, 0.1] as [Float]) { #expect(abs(found - expected) < 1e-6) }
  }

  @Test(arguments: [0x1p-140, 1e-30, 1, 1e30, 3e38] as [Float]) func anyMagnitude(_ scale: Float) {
    let g = [scale, -scale, 0.3 * scale, 0, -0.0]
    for bits in [1, 4, 16] {
      var known = [Float](repeating: 0, count: 5)
      // Each message halves what is left, at least; one bit has no point at zero.
      for _ in 0..<3 { known = encode(DifferenceGrid(bits: bits), g, known).known }
      for (value, found) in zip(g, known) {
        #expect(abs(Double(found) - Double(value)) <= Double(scale) + Double(scale.ulp), "\(bits) bits of \(scale)")
        if bits > 1 { #expect(abs(Double(found) - Double(value)) <= Double(scale) / 200 + Double(scale.ulp)) }
      }
    }
    // From one end of the range to the other, in as many messages as that takes.
    var known = [-scale]
    for _ in 0..<3 { known = encode(DifferenceGrid(bits: 4), [scale], known).known }
    #expect(known == [scale])
  }

  @Test func nothingMovesWhereNothingHasChanged() {
    let values = Gradients.normal.values(100)
    let (message, known, radius) = encode(DifferenceGrid(bits: 4), values, values)
    #expect(radius == 0 && known == values && message.allSatisfy { $0 == 0 })
    // Values that are not finite crash nobody.
    _ = encode(DifferenceGrid(bits: 4), [.nan, .infinity, 1], [0, 0, 0])
  }
}

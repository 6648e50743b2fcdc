import Buffers
import Kernels
import Testing

@Suite struct ElementwiseTests {
  @Test("a step of gradient descent, against plain lines")
  func updates() {
    let count = 1000
    for (momentum, gain, decay, isNesterov) in [
      (Float(0), Float(1), Float(0), false), (0, 1, 0.01, false), (0.9, 1, 0, false), (0.9, 0.1, 0.01, false),
      (0.9, 1, 0.02, true),
    ] {
      var (w, u) = (Gradients.normal.values(count), [Float](repeating: 0, count: count))
      var (expectedW, expectedU) = (w.map(Double.init), u.map(Double.init))
      for index in 0..<4 {
        let gradient = Gradients.normal.values(count, seed: UInt64(index + 10))
        let step = DescentStep(rate: 0.1, momentum: momentum, gain: gain, decay: decay, isNesterov: isNesterov)
        sgdUpdate(weights: &w, gradient: gradient, momenta: &u, count: count, step: step)
        for i in 0..<count {
          let y = Double(gradient[i]) + Double(decay) * expectedW[i]
          expectedU[i] = Double(momentum) * expectedU[i] + Double(gain) * y
          let move = isNesterov ? Double(gain) * y + Double(momentum) * expectedU[i] : expectedU[i]
          expectedW[i] -= Double(Float(0.1)) * move
        }
      }
      for i in 0..<count { #expect((Double(w[i]) - expectedW[i]).magnitude < 1e-5) }
      for i in 0..<count { #expect((Double(u[i]) - expectedU[i]).magnitude < 1e-5) }
    }
  }

  @Test("without momenta a step is w − rate · y, bit for bit")
  func plainStep() {
    let gradient = Gradients.normal.values(100)
    var w = Gradients.normal.values(100, seed: 2)
    let expected = zip(w, gradient).map { $0 - 0.3 * $1 }
    sgdUpdate(weights: &w, gradient: gradient, momenta: nil, count: 100, step: DescentStep(rate: 0.3))
    #expect(w.patterns == expected.patterns)
  }

  @Test("magnitudes above the limit, infinities and NaN are found anywhere")
  func finiteness() {
    for count in [1, 15, 16, 31, 32, 33, 64, 100] {
      #expect(allFinite(Gradients.wide.values(count), count: count))
      for place in 0..<count {
        for value in [Float.nan, -.nan, .infinity, -.infinity, 0x1.000002p100, -0x1.8p100] {
          var values = Gradients.normal.values(count)
          values[place] = value
          #expect(!allFinite(values, count: count))
        }
        var values = Gradients.normal.values(count)
        values[place] = -0x1p100
        #expect(allFinite(values, count: count))
        #expect(!allFinite(values, count: count, limit: 0x1p99))
      }
    }
    #expect(allFinite([], count: 0))
  }

  @Test("sums of squares")
  func squares() {
    for count in [0, 1, 31, 32, 33, 1000] {
      let values = Gradients.normal.values(count)
      let expected = values.reduce(0) { $0 + Double($1) * Double($1) }
      #expect((sumOfSquares(values, count: count) - expected).magnitude <= 1e-12 * expected)
    }
    #expect(sumOfSquares([3, 4], count: 2) == 25)
    #expect(sumOfSquares([Float](repeating: 1e30, count: 100), count: 100).isFinite)
  }
}

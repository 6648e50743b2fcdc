import Buffers
import Codecs
import MPI
import PointToPoint
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// AdaDelay with a c for each value against its equation (algorithms §7.2).
@Suite(.serialized, .ranks(atMost: 4)) struct AdaDelayTests {
  /// The equation in fp64, for workers that pull after each push.
  private struct Reference {
    var w: [Double]
    var held: [[Double]]
    var sums: [Double]
    var (version, pulled): (Int, [Int])
    let (l, c): (Double, Double)

    init(_ start: [Double], workers: Int, l: Double, c: Double) {
      (w, self.l, self.c) = (start, l, c)
      (held, sums) = (Array(repeating: start, count: workers), start.map { _ in 0 })
      (version, pulled) = (0, Array(repeating: 0, count: workers))
    }

    /// Applies the `t`-th gradient.
    mutating func push(_ worker: Int, _ gradient: [Double], rate: Double, t: Int) {
      let age = Double(version - pulled[worker])
      for (j, g) in gradient.enumerated() {
        sums[j] += Double(t) / (Double(t) + age) * g * g
        w[j] -= rate * g / (l + c * (sums[j] / Double(t)).squareRoot() * (Double(t) + age).squareRoot())
      }
      version += 1
      (held[worker], pulled[worker]) = (w, version)
    }
  }

  private func settings(_ workers: Int, l: Double = 1, c: Double) -> ParameterServer.Settings {
    var settings = ParameterServer.Settings(workerCount: workers)
    settings.rule.rate = .adaDelayByValue(l: l, c: c)
    return settings
  }

  /// f = ½(w₁² + 4w₂²), η = 0.5, L = 1, c = 2; both workers pull (1, 1), and then push in turn and pull after each push.
  @Test(.enabled(if: allRanks.count == 1, "one rank is both workers")) func theTraceIsThatOfTheEquation() throws {
    let model = FloatBuffer(count: 2)
    (model[0], model[1]) = (1, 1)
    var found: [[Float]] = []
    let server = try ParameterServer(
      HostMap(allRanks), layout: TensorLayout([("w", [2])]), parameters: model, codec: Identity(), settings: settings(2, c: 2)
    ) { range, gradient, _, rate, _ in
      #expect(rate(0.5) == 0.5)
      for index in range { model[index] -= 0.5 * gradient[index - range.lowerBound] }
      found.append(Array(model.values))
    }
    try server.run(0..<4, usesFloats: true, order: .listed([0, 1, 0, -1, 1, -2])) { _, _, parameters, gradient, _ in
      (gradient[0], gradient[1]) = (parameters[0], 4 * parameters[1])
      return 1
    }
    // By the equation, in fp64.
    let expected = [
      [0.83333333, 0.77777778], [0.71320680, 0.63124808], [0.61884546, 0.52360709], [0.54135142, 0.43926617],
    ]
    #expect(found.count == 4)
    for (values, right) in zip(found, expected) {
      for (value, right) in zip(values, right) { #expect(abs(Double(value) - right) < 2e-7, "\(found)") }
    }
  }

  /// Over several meetings the values are those of the equation, and the bits those of one rank.
  @Test func valuesAreThoseOfTheEquation() throws {
    let alone = try HostMap(allRanks.split(color: allRanks.rank))
    for workers in [12, 24] {
      let target = TargetModel(
        settings(workers, l: 0.5, c: 3), layout: TensorLayout([("a", [3, 33]), ("b", [7]), ("c", [1])]))
      let segments = [0..<17, 17..<17, 17..<40]
      let start = target.model.values.map { Double($0) }
      let found = try target.train(target.server(HostMap(allRanks)), segments)
      let again = TargetModel(target.settings, layout: target.layout)
      #expect(try again.train(again.server(alone), segments) == found)

      var reference = Reference(start, workers: workers, l: 0.5, c: 3)
      var t = 0
      for segment in segments {
        (reference.held, reference.pulled) = (
          reference.held.map { _ in reference.w }, reference.pulled.map { _ in reference.version }
        )
        var minibatches = Array(segment.lowerBound..<segment.lowerBound + workers)
        for worker in EmulatedSpeed.exponential.course(of: segment, target.settings).order where worker >= 0 {
          t += 1
          let values = reference.held[worker].map { Float($0) }
          reference.push(
            worker, target.gradient(minibatches[worker], at: values).map { Double($0) }, rate: Double(target.rate), t: t)
          minibatches[worker] = minibatches.max()! + 1
        }
      }
      for (value, right) in zip(found, reference.w) { #expect(abs(Double(value) - right) < 2e-6, "\(workers) workers") }
    }
  }

  /// Gradients of any size, on any number of values, give finite steps; without gradients nothing moves.
  @Test(.enabled(if: allRanks.count == 1, "one rank is both workers")) func gradientsOfAnySizeAreDivided() throws {
    let sizes: [Float] = [0, Float(bitPattern: 700), 1e-20, 1, 1e18, 3e38]
    for count in [1, 2, 7, 64, 65, 1000] {
      for l in [1e-6, 1, 1e6] {
        func gradient(_ index: Int, _ minibatch: Int) -> Float {
          (index % 2 == 0 ? 1 : -1) * sizes[(index + minibatch) % sizes.count]
        }
        var found: [[Float]] = []
        let server = try ParameterServer(
          HostMap(allRanks), layout: TensorLayout([("w", [count])]), parameters: FloatBuffer(count: count), codec: Identity(),
          settings: settings(2, l: l, c: 1)
        ) { _, gradient, _, _, _ in found.append(Array(UnsafeBufferPointer(start: gradient, count: count))) }
        try server.run(0..<6, usesFloats: true, order: .listed([0, 1, 0, 1, 0, 1, -1, -2])) { _, minibatch, _, values, _ in
          for index in 0..<count { values[index] = gradient(index, minibatch) }
          return 1
        }
        #expect(found.count == 6)
        var sums = Array(repeating: 0.0, count: count)
        for (minibatch, values) in found.enumerated() {
          // The first push is fresh, the others are one push late.
          let (t, age) = (Double(minibatch + 1), minibatch == 0 ? 0.0 : 1.0)
          for (index, value) in values.enumerated() {
            let g = Double(gradient(index, minibatch))
            sums[index] = min(sums[index] + t / (t + age) * g * g, Double(Float.greatestFiniteMagnitude))
            let right = g / (l + (sums[index] / t * (t + age)).squareRoot())
            #expect(
              value.isFinite && abs(Double(value) - right) <= 1e-5 * abs(right) + 2e-45,
              "\(count) \(l) \(index) \(minibatch): \(value) \(right)")
          }
        }
      }
    }
  }

  /// Without a c it is plain descent at the rate η/L bit for bit, and with one it is not.
  @Test func withoutACItIsPlainDescent() throws {
    func train(_ rate: PushRule.Rate) throws -> [Float] {
      var settings = ParameterServer.Settings(workerCount: 12)
      settings.rule.rate = rate
      let target = TargetModel(settings)
      return try target.train(target.server(HostMap(allRanks)), [0..<30])
    }
    #expect(try train(.adaDelayByValue(l: 1, c: 0)) == train(.uniform))
    #expect(try train(.adaDelayByValue(l: 1, c: 1)) != train(.adaDelay(l: 1, c: 1)))
  }
}

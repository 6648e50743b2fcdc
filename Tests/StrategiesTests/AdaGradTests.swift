import Buffers
import Foundation
import Optimizers
import Strategies
import Testing
import Trainer
import _TestSupport

/// AdaGrad's arithmetic against plain fp64 lines.
@Suite(.oneProcess) struct AdaGradTests {
  /// Coordinates of very different sizes; every fifth never has a gradient.
  private func gradient(_ count: Int, step: Int) -> [Float] {
    let random = Philox(seed: 11, purpose: .tests)
    return (0..<count).map { i in
      i % 5 == 2 ? 0 : (random.uniform(i, tensor: step + 1) - 0.5) * Float(sign: .plus, exponent: i % 23 - 11, significand: 1)
    }
  }

  /// Scales in pieces that end at `ends`, the last piece first.
  private func scale(_ values: inout [Float], _ state: AdaGradState, ends: [Int], _ sum: MultiplierSum) {
    let starts = [0] + ends
    values.withUnsafeMutableBufferPointer { values in
      for (start, end) in zip(starts, ends).reversed() {
        state.scale(values.baseAddress! + start, at: start, count: end - start, addingTo: sum)
      }
    }
  }

  @Test(arguments: [AdaGrad.Normalization.positive, .cntk], [1, 15, 16, 17, 100, 1003])
  func severalStepsFollowTheFormula(normalization: AdaGrad.Normalization, count: Int) {
    let rule = AdaGrad(epsilon: 1e-12, normalization: normalization)
    let state = AdaGradState(rule, count: count, isRestorable: true)
    var squares = [Double](repeating: 0, count: count)
    let ends = [1, 7, 16, 40, 64, 333].filter { $0 < count } + [count]
    for step in 0..<5 {
      var values = gradient(count, step: step)
      let original = values
      // A step that does not count, on the way.
      var lost = gradient(count, step: 100 + step)
      scale(&lost, state, ends: [count], MultiplierSum())
      let sum = MultiplierSum()
      scale(&values, state, ends: ends, sum)
      state.commit()
      var multipliers: [Double] = []
      for i in 0..<count {
        squares[i] += Double(original[i]) * Double(original[i])
        let multiplier = 1 / (squares[i] + Double(Float(1e-12))).squareRoot()
        if normalization == .cntk || squares[i] > 0 { multipliers.append(multiplier) }
        let expected = Double(original[i]) * multiplier
        #expect(abs(Double(values[i]) - expected) <= 1e-6 * abs(expected), "step \(step), value \(i)")
        #expect(abs(Double(state.squares[i]) - squares[i]) <= 1e-6 * squares[i])
      }
      let mean = MultiplierSum.mean(of: [sum.words])
      #expect(abs(mean - multipliers.reduce(0, +) / Double(multipliers.count)) <= 1e-6 * mean)
    }
  }

  @Test func aCoordinateThatNeverHadAGradientDoesNotSpoilTheMean() {
    var means: [Double] = []
    for normalization in AdaGrad.Normalization.allCases {
      let sum = MultiplierSum()
      var values = [Float](repeating: 0.1, count: 100)
      values[37] = 0
      scale(&values, AdaGradState(AdaGrad(normalization: normalization), count: 100, isRestorable: false), ends: [100], sum)
      means.append(MultiplierSum.mean(of: [sum.words]))
      #expect(values[37] == 0 && abs(values[0] - 1) < 1e-6)
    }
    #expect(abs(means[0] - 10) < 1e-5)
    #expect(abs(means[1] / 1e6 - 1) < 1e-4)
  }

  @Test func multipliersAddUpTheSameInAnyPiecesAndOrder() {
    let random = Philox(seed: 3, purpose: .tests)
    let blocks = (0..<200).map { block in
      SIMD16<Float>(
        (0..<16).map { lane in
          let u = random.uniform(16 * block + lane)
          return lane == 5
            ? 0 : Float(sign: .plus, exponent: Int(u * 104) - 64, significand: 1 + random.uniform(lane, tensor: block))
        })
    }
    let whole = MultiplierSum()
    for block in blocks { whole.add(block) }
    let count = blocks.count * 15
    #expect(whole.words[2] == UInt64(count))
    var exact = 0.0
    for block in blocks { for lane in 0..<16 { exact += Double(block[lane]) } }
    #expect(abs(MultiplierSum.mean(of: [whole.words]) - exact / Double(count)) <= 1e-12 * exact / Double(count))
    for pieces in [2, 3, 7] {
      let parts = (0..<pieces).map { _ in MultiplierSum() }
      for (index, block) in blocks.reversed().enumerated() { parts[index % pieces].add(block) }
      #expect(MultiplierSum.mean(of: parts.map(\.words)) == MultiplierSum.mean(of: [whole.words]))
    }
    whole.clear()
    #expect(MultiplierSum.mean(of: [whole.words]) == 1 && whole.words == [0, 0, 0])
  }

  @Test func extremesStayNumbers() {
    let state = AdaGradState(AdaGrad(), count: 5, isRestorable: false)
    for _ in 0..<3 {
      var values: [Float] = [1e30, -1e30, .infinity, .nan, 1e-30]
      let sum = MultiplierSum()
      scale(&values, state, ends: [5], sum)
      #expect(values[0].isFinite && values[1] == -values[0] && values[4].isFinite)
      #expect((0..<5).allSatisfy { state.squares[$0].isFinite })
      #expect(state.squares[3] == 0)
    }
  }

  @Test func specificationsSayWhatTheyMean() throws {
    #expect(try AdaGrad(Specification("adagrad")) == AdaGrad(place: .aggregate, epsilon: 1e-16, normalization: .positive))
    #expect(
      try AdaGrad(Specification("adagrad:place=partial,epsilon=1e-8,normalization=cntk"))
        == AdaGrad(place: .partial, epsilon: 1e-8, normalization: .cntk))
    for (text, isAtRank, isAtOwner) in [
      ("adagrad", false, true), ("adagrad:place=partial", true, false), ("adagrad:place=momentum", false, false),
      ("sgd", false, false), ("adam", false, false),
    ] {
      let recipe = try optimizers.make(text)
      #expect((recipe.transforms.atRank != nil) == isAtRank && (recipe.transforms.atOwner != nil) == isAtOwner, "\(text)")
      #expect(recipe.transforms.atUpdate == nil && (recipe.obstacles.replicatedStart != nil) == (isAtRank || isAtOwner))
    }
    for text in [
      "adagrad:place=owner", "adagrad:epsilon=0", "adagrad:normalization=none", "adagrad:place=momentum,nesterov=true",
      "adagrad:place=momentum,gain=unit", "adagrad:0.1", "adagrad:time-constant=0",
    ] {
      #expect(throws: SpecificationError.self, "\(text)") { try optimizers.make(text) }
    }
  }
}

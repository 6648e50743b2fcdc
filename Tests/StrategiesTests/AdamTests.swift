import Buffers
import Foundation
import Optimizers
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Adam and AdamW against their formulas in plain fp64.
@Suite(.oneProcess) struct AdamTests {
  /// One value that is trained.
  private struct Reference {
    var w: Double
    var (m, v) = (0.0, 0.0)
    /// t of m and of v.
    var (meanSteps, squareSteps) = (0.0, 0.0)
    let rule: Adam.Rule

    init(_ w: Double, _ rule: Adam.Rule) { (self.w, self.rule) = (w, rule) }

    /// An update that is `share` of a step, which is as long as `ratio` steps of the settings.
    mutating func update(_ gradient: Float, rate: Float, decay: Float, share: Double = 1, ratio: Double = 1) {
      let x = Double(gradient) / share + (rule.isDecoupled ? 0 : Double(decay) * w)
      let limited = max(-0x1p63, min(0x1p63, x))
      let length = share * ratio
      let (beta1, beta2) = (pow(rule.constants.beta1, length), pow(rule.constants.beta2, length))
      m = beta1 * m + (1 - beta1) * limited
      v = beta2 * v + (1 - beta2) * limited * limited
      (meanSteps, squareSteps) = (meanSteps + length, squareSteps + length)
      let mean = rule.correctsBias ? m / (1 - pow(rule.constants.beta1, meanSteps)) : m
      let square = rule.correctsBias ? v / (1 - pow(rule.constants.beta2, squareSteps)) : v
      let move = mean / (square.squareRoot() + Double(rule.constants.epsilon)) + (rule.isDecoupled ? Double(decay) * w : 0)
      w -= Double(rate) * share * move
    }
  }

  private func rule(_ change: (inout Adam.Rule) -> Void = { _ in }) -> Adam.Rule {
    var rule = Adam.Rule()
    rule.constants.scope = .all
    change(&rule)
    return rule
  }

  private func optimizer(_ rule: Adam.Rule, count: Int, decay: Float = 0) -> Adam {
    Adam(OptimizerSettings(count: count, momentum: 0.9, weightDecay: decay, minibatch: 100), rule: rule)
  }

  /// Does one update of all values, in pieces of awkward sizes, in no order.
  private func update(
    _ optimizer: any Optimizer, _ weights: FloatBuffer, _ gradient: [Float], rate: Float, share: Float = 1
  ) {
    optimizer.prepare(samples: 100, share: share)
    let count = gradient.count
    let cuts = [0, 1, 17, 500, 501, count].filter { $0 <= count }.sorted()
    for (start, end) in zip(cuts, cuts.dropFirst()).reversed() {
      gradient.withUnsafeBufferPointer {
        guard let base = $0.baseAddress else { return }
        optimizer.update(start..<end, of: weights, with: base + start, rate: rate)
      }
    }
    optimizer.finish(weights, rate: rate)
  }

  private static let rules: [(isDecoupled: Bool, correctsBias: Bool, epsilon: Float)] = [
    (false, true, 1e-8), (true, true, 1e-8), (false, false, 1e-8), (true, false, 1e-3), (true, true, 1e-16),
  ]

  private static let magnitudes =
    ([1e-42, 1e-37, 1e-30, 1e-22, 1e-19, 1e-17, 1e-12, 1e-6, 1, 1e8, 1e18, 1e19, 1e20, 1e30, 3e38] as [Double])
    .map { Float($0) }

  /// From gradients whose squares vanish to those whose squares are infinite.
  @Test(arguments: magnitudes, rules)
  func severalStepsFollowTheFormula(
    magnitude: Float, choice: (isDecoupled: Bool, correctsBias: Bool, epsilon: Float)
  ) throws {
    let rule = rule { ($0.isDecoupled, $0.correctsBias, $0.constants.epsilon) = choice }
    let random = Philox(seed: 3, purpose: .tests)
    for count in [0, 1, 15, 16, 17, 1000] {
      for decay in [Float(0), 0.1] {
        let weights = FloatBuffer(count: count)
        for i in 0..<count { weights[i] = random.uniform(i) - 0.5 }
        var references = weights.values.map { Reference(Double($0), rule) }
        let optimizer = optimizer(rule, count: count, decay: decay)
        for (step, rate) in ([1, 0.5, 2, 1, 1] as [Float]).enumerated() {
          // A value that never had a gradient, and one that had it once.
          let gradient = (0..<count).map { i in
            i % 7 == 3 || (i % 7 == 4 && step != 1) ? 0 : (2 * random.uniform(i, tensor: step + 1) - 1) * magnitude
          }
          update(optimizer, weights, gradient, rate: rate)
          for i in 0..<count { references[i].update(gradient[i], rate: rate, decay: decay) }
        }
        let state = StateInventory(of: optimizer)
        let (m, v) = (try #require(state.tensor("momentum")).values, try #require(state.tensor("squares")).values)
        let largest = min(0x1p63, Double(magnitude) + Double(decay))
        for i in 0..<count {
          let reference = references[i]
          #expect(abs(Double(weights[i]) - reference.w) <= 2e-5 + 1e-6 * abs(reference.w), "value \(i) of \(count)")
          #expect(abs(Double(m[i]) - reference.m) <= 2e-6 * largest + 0x1p-146, "m \(i) of \(count)")
          #expect(abs(Double(v[i]) - reference.v) <= 2e-6 * largest * largest + 0x1p-146, "v \(i) of \(count)")
        }
      }
    }
  }

  @Test func anInfiniteGradientCountsAsTheLargestAndNoNumberStaysNone() {
    let weights = FloatBuffer(count: 3)
    let optimizer = optimizer(rule(), count: 3)
    update(optimizer, weights, [.infinity, -.infinity, .nan], rate: 0.125)
    #expect(abs(weights[0] + 0.125) < 1e-6 && weights[1] == -weights[0] && weights[2].isNaN)
  }

  /// Two halves move and forget as much as one step, however the samples are dealt to them; so does a minibatch of another size.
  @Test func whatIsGivenPerStepKeepsItsMeaningInSamples() throws {
    func run(_ shares: [Float], minibatch: Int = 100, _ rule: Adam.Rule) throws -> (moved: Float, m: Float, v: Float) {
      let weights = FloatBuffer(count: 1)
      let optimizer = optimizer(rule, count: 1)
      optimizer.setMinibatch(minibatch)
      for _ in 0..<(1000 / minibatch) {
        for share in shares { update(optimizer, weights, [0.3 * share], rate: Float(minibatch) / 10_000, share: share) }
      }
      let state = StateInventory(of: optimizer)
      #expect(state.counters["squareSteps"].flatMap { UInt64($0) }.map { abs(Double(bitPattern: $0) - 10) < 1e-5 } == true)
      return (weights[0], try #require(state.tensor("momentum")).values[0], try #require(state.tensor("squares")).values[0])
    }
    let plain = try run([1], rule())
    #expect(abs(plain.moved + 0.1) < 1e-6)
    let cuts: [(shares: [Float], minibatch: Int)] = [
      ([0.5, 0.5], 100), ([0.3, 0.7], 100), ([1], 50), ([1], 200), ([0.52, 0.48], 500),
    ]
    for (shares, minibatch) in cuts {
      let other = try run(shares, minibatch: minibatch, rule())
      #expect(abs(other.moved / plain.moved - 1) < 1e-5, "\(shares) of \(minibatch)")
      #expect(abs(other.m / plain.m - 1) < 1e-5 && abs(other.v / plain.v - 1) < 1e-4, "\(shares) of \(minibatch)")
    }
  }

  @Test func partsOfStepsFollowTheFormula() {
    let rule = rule { $0.isDecoupled = true }
    let (weights, optimizer) = (FloatBuffer(count: 1), optimizer(rule, count: 1, decay: 0.1))
    weights[0] = 0.5
    var reference = Reference(0.5, rule)
    let random = Philox(seed: 9, purpose: .tests)
    for step in 0..<40 {
      let (share, ratio) = ([0.5, 0.5, 0.375, 0.625, 1][step % 5] as Float, step < 20 ? 1 : 2.5)
      optimizer.setMinibatch(Int(100 * ratio))
      let gradient = (random.uniform(step) - 0.3) * share
      update(optimizer, weights, [gradient], rate: 0.1, share: share)
      reference.update(gradient, rate: 0.1, decay: 0.1, share: Double(share), ratio: ratio)
      #expect(abs(Double(weights[0]) - reference.w) < 1e-5, "step \(step)")
    }
  }

  @Test func theMinibatchOfTheSettingsChangesNoBit() {
    let (one, other) = (optimizer(rule(), count: 1), optimizer(rule(), count: 1))
    let (touched, plain) = (FloatBuffer(count: 1), FloatBuffer(count: 1))
    one.setMinibatch(200)
    for step in 0..<50 {
      one.setMinibatch(100)
      for (optimizer, weights) in [(one, touched), (other, plain)] {
        update(optimizer, weights, [Float(step % 7) / 3 - 1], rate: 0.05)
      }
    }
    #expect(touched[0].bitPattern == plain[0].bitPattern)
    // An update is a step, whatever its samples: a short last minibatch is one, too.
    one.prepare(samples: 3, share: 1)
    one.finish(touched, rate: 0.05)
    #expect(StateInventory(of: one).counters["momentumSteps"] == String(51.0.bitPattern))
  }

  /// What is forgotten is the direction: the next gradient alone gives it, corrected as the first was; the squares stay.
  @Test func forgettingMomentumKeepsTheSquares() throws {
    let (weights, optimizer) = (FloatBuffer(count: 1), optimizer(rule(), count: 1))
    for _ in 0..<20 { update(optimizer, weights, [0.5], rate: 0.1) }
    let before = weights[0]
    optimizer.forgetMomentum()
    let state = StateInventory(of: optimizer)
    #expect(try #require(state.tensor("momentum")).values[0] == 0 && #require(state.tensor("squares")).values[0] > 0)
    #expect(state.counters["momentumSteps"] == String(0.0.bitPattern))
    #expect(state.counters["squareSteps"] == String(20.0.bitPattern))
    update(optimizer, weights, [-0.5], rate: 0.1)
    #expect(abs(weights[0] - before - 0.1) < 1e-6)
  }

  @Test func anOptimizerGoesOnFromItsState() throws {
    for change in [{ $0.isDecoupled = true }, { $0.correctsBias = false }, { _ in }] as [(inout Adam.Rule) -> Void] {
      let rule = rule(change)
      let random = Philox(seed: 5, purpose: .tests)
      let (weights, first) = (FloatBuffer(count: 40), optimizer(rule, count: 40, decay: 0.01))
      func gradient(_ step: Int) -> [Float] { (0..<40).map { random.uniform($0, tensor: step) - 0.5 } }
      for step in 0..<4 { update(first, weights, gradient(step), rate: 0.01, share: step == 3 ? 0.5 : 1) }
      let (copy, second) = (FloatBuffer(count: 40), optimizer(rule, count: 40, decay: 0.01))
      copy.copy(from: weights)
      StateInventory(of: second).copyTensors(from: StateInventory(of: first))
      second.restore(counters: StateInventory(of: first).counters)
      for step in 4..<8 {
        update(first, weights, gradient(step), rate: 0.01)
        update(second, copy, gradient(step), rate: 0.01)
      }
      #expect(weights.hash() == copy.hash())
      // A fresh one has the settings and no state.
      let fresh = StateInventory(of: first.fresh())
      #expect(fresh.counters["squareSteps"] == String(0.0.bitPattern))
      #expect(fresh.tensors.count == 2 && fresh.tensors.allSatisfy { $0.values.allSatisfy { $0 == 0 } })
    }
  }

  @Test func decayIsPartOfTheGradientOrBesideIt() {
    for (isDecoupled, expected) in [(false, 0.5 - 0.1), (true, 0.5 * (1 - 0.1 * 0.2))] {
      let weights = FloatBuffer(count: 1)
      weights[0] = 0.5
      update(optimizer(rule { $0.isDecoupled = isDecoupled }, count: 1, decay: 0.2), weights, [0], rate: 0.1)
      #expect(abs(Double(weights[0]) - expected) < 1e-6)
    }
  }

  @Test func momentumIsRefusedByName() throws {
    for optimizer in ["adam", "adamw:beta1=0.8"] {
      _ = try Recipe(options { $0.optimizer = optimizer })
      #expect { try Recipe(options { ($0.optimizer, $0.momentum) = (optimizer, 0.5) }) } throws: {
        "\($0)" == "--momentum 0.5 does not go with --optimizer \(optimizer), whose beta1 gives the momentum"
      }
    }
  }

  /// What decays is as it is with `decay=all`, and what does not as without decay, bit for bit; pieces cross the borders.
  @Test(arguments: ["sgd", "sgd:nesterov=true", "adagrad:place=momentum", "adam", "adamw"])
  func decayOfMatricesSparesVectors(specification: String) throws {
    let layout = TensorLayout([
      ("layers.2.bias", [3]), ("layers.2.weight", [3, 5]), ("filters", [2, 3, 3, 1]), ("layers.1.bias", [20]), ("scales", [7]),
      ("none", [0, 4]), ("layers.1.weight", [600, 2]),
    ])
    let random = Philox(seed: 2, purpose: .tests)
    func run(_ scope: String?, decay: Float) throws -> FloatBuffer {
      let key = scope.map { (specification.contains(":") ? "," : ":") + "decay=\($0)" } ?? ""
      let optimizer = try optimizers.make(specification + key)(
        OptimizerSettings(layout: layout, momentum: 0.9, weightDecay: decay))
      let weights = FloatBuffer(count: layout.count)
      for i in 0..<weights.count { weights[i] = random.uniform(i) - 0.5 }
      for step in 1...3 {
        update(optimizer, weights, (0..<weights.count).map { random.uniform($0, tensor: step) - 0.5 }, rate: 0.1)
      }
      return weights
    }
    let (matrices, all, none) = (try run("matrices", decay: 0.1), try run("all", decay: 0.1), try run("all", decay: 0))
    for tensor in layout.tensors where !tensor.range.isEmpty {
      let isMatrix = tensor.shape.count > 1
      #expect(matrices.hash(in: tensor.range) == (isMatrix ? all : none).hash(in: tensor.range), "\(tensor.name)")
      #expect(all.hash(in: tensor.range) != none.hash(in: tensor.range))
    }
    let standard = try run(nil, decay: 0.1)
    #expect(standard.hash() == (specification.hasPrefix("adam") ? matrices : all).hash())
  }
}

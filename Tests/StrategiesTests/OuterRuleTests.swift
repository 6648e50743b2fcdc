import Buffers
import Codecs
import Collectives
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// The outer step of local steps, against the traces and laws of its equations.
@Suite(.serialized) struct OuterRuleTests {
  /// θ after each round in which ranks take two steps of rate 0.1 on ½(x − a)², a = 1 and 3, and the means and v.
  private func rounds(_ rule: OuterRule, count: Int) -> (theta: [Double], means: [Double], momenta: [Double]) {
    var (theta, v) = (Float(0), Float(0))
    var found: (theta: [Double], means: [Double], momenta: [Double]) = ([], [], [])
    for _ in 0..<count {
      let changes = [Float(1), 3].map { a in
        var x = theta
        for _ in 0..<2 { x -= 0.1 * (x - a) }
        return theta - x
      }
      var mean = (changes[0] + changes[1]) / 2
      found.means.append(Double(mean))
      if rule.remembers { rule.step(&mean, &v, count: 1) } else { rule.step(&mean, nil, count: 1) }
      theta -= mean
      found.theta.append(Double(theta))
      found.momenta.append(Double(v))
    }
    return found
  }

  private func expect(_ found: [Double], _ right: [Double], at place: SourceLocation = #_sourceLocation) {
    #expect(found.count == right.count, sourceLocation: place)
    for (value, right) in zip(found, right) { #expect(abs(value - right) < 1e-6, "\(found)", sourceLocation: place) }
  }

  /// Frontier F1.1.
  @Test(.oneProcess) func tracesAreThoseOfTheEquations() {
    let nesterov = rounds(OuterRule(.nesterov, rate: 0.7, momentum: 0.9), count: 4)
    expect(nesterov.theta, [0.5054, 1.09854542, 1.68127025, 2.17836149])
    expect(nesterov.means, [-0.38, -0.283974, -0.17127637, -0.06055865])
    expect(nesterov.momenta, [-0.38, -0.625974, -0.73465297, -0.72174633])
    expect(rounds(OuterRule(.none, rate: 1, momentum: 0), count: 4).theta, [0.38, 0.6878, 0.937118, 1.13906558])
    expect(
      rounds(OuterRule(.heavyBall, rate: 0.7, momentum: 0.9), count: 4).theta, [0.266, 0.736022, 1.32715087, 1.94865579])
  }

  /// A constant Ψ̄ moves the model by α(1 + μ), α(1 + μ + μ²), … and in the end by the gain (L4).
  @Test(.oneProcess, arguments: [0, 0.5, 0.9]) func aConstantChangeHasTheGain(_ momentum: Double) {
    let rule = OuterRule(.nesterov, rate: 0.7, momentum: Float(momentum))
    var (v, moves) = (Float(0), [Double]())
    for _ in 0..<200 {
      var step: Float = 1
      rule.step(&step, &v, count: 1)
      moves.append(Double(step))
    }
    var sum = 1.0
    for (round, move) in moves.prefix(5).enumerated() {
      sum += pow(momentum, Double(round + 1))
      #expect(abs(move - 0.7 * sum) < 1e-5)
    }
    #expect(abs(moves[199] - rule.gain!) < 1e-4)
  }

  /// On a quadratic with a contraction p in a round, (θ, v) moves by [[1 − α(1+μ)p, −αμ²], [p, μ]] (L5).
  @Test(.oneProcess, arguments: [0.05, 0.2, 0.5, 1, 1.2]) func aQuadraticContractsByTheMatrix(_ p: Double) {
    let rule = OuterRule(.nesterov, rate: 0.7, momentum: 0.9)
    let (alpha, mu) = (0.7, 0.9)
    var (theta, v) = (Float(1), Float(0))
    var expected = (theta: 1.0, v: 0.0)
    for _ in 0..<60 {
      var step = Float(p) * theta
      rule.step(&step, &v, count: 1)
      theta -= step
      expected = (
        (1 - alpha * (1 + mu) * p) * expected.theta - alpha * mu * mu * expected.v, p * expected.theta + mu * expected.v
      )
      #expect(abs(Double(theta) - expected.theta) < 1e-5)
    }
    #expect(abs(theta) < 0.2)
  }

  /// Block momentum, algorithms §9.3: the model is W, and rounds begin at W + η_bΔ with the look-ahead (L3).
  @Test(.oneProcess, arguments: [OuterRule.Style.heavyBall, .nesterov]) func blockMomentumIsTheTextbook(
    _ style: OuterRule.Style
  ) {
    let block = ReplicatedMomentum(OuterRule(style, rate: 1, momentum: 0.5), count: 1, looksAhead: true)
    let (model, start) = (FloatBuffer(count: 1), FloatBuffer(count: 1))
    (model[0], start[0]) = (1, 1)
    var (models, starts): ([Double], [Double]) = ([], [])
    var (theta, v) = (Float(1), Float(0))
    let diloco = OuterRule(.nesterov, rate: 1, momentum: 0.5)
    for _ in 0..<4 {
      block.sum[0] = 0.3
      block.step(model, share: 1)
      if block.looksAhead { block.lookAhead(from: model, to: start) }
      models.append(Double(model[0]))
      starts.append(Double(start[0]))
      var step: Float = 0.3
      diloco.step(&step, &v, count: 1)
      theta -= step
      // θ of DiLoCo is where block momentum begins its rounds.
      if style == .nesterov { #expect(abs(theta - start[0]) < 1e-6) }
    }
    expect(models, [0.7, 0.25, -0.275, -0.8375])
    if style == .nesterov { expect(starts, [0.55, 0.025, -0.5375, -1.11875]) }
  }

  /// Lion moves every value by α or not at all, and keeps 0.99 of what it remembers.
  @Test(.oneProcess) func lionMovesByItsRate() {
    let rule = OuterRule(.lion, rate: 0.01, momentum: 0.9)
    var (values, v): ([Float], [Float]) = ([3, -1e-30, 0, -3e38, 1], [0, 0, 0, 0, -1])
    rule.step(&values, &v, count: 5, share: 0.5)
    #expect(values == [0.005, -0.005, 0, -0.005, -0.005])
    #expect(abs(v[0] - 0.03) < 1e-7 && abs(v[4] + 0.98) < 1e-6)
  }

  /// Σ Σ_i contributions = Σ Ψ̄ + Σ_i e_i and Σ s = Σ delivered + E, over rounds of one bit both ways with the momentum at the owners.
  @Test func codesOfOuterStepsLoseNothing() throws {
    let hosts = try HostMap(world)
    let layout = TensorLayout([("w", [37, 29]), ("b", [37]), ("c", [3])])
    let gradient = try SharedGradient(count: layout.count, hosts: hosts)
    let owner = OwnerMomentum(OuterRule(.nesterov, rate: 0.7, momentum: 0.5))
    var options = CodedAllReduce.Options()
    var (means, steps) = ([Double](repeating: 0, count: layout.count), [Double](repeating: 0, count: layout.count))
    options.ownerTransform = { range, values in
      for index in range { means[index] += Double(values[index - range.lowerBound]) }
      owner.transform(range, values)
      for index in range { steps[index] += Double(values[index - range.lowerBound]) }
    }
    let exchange = try CodedAllReduce(OneBit(), layout: layout, gradients: [gradient], options: options)
    try owner.attach(ownedRanges: exchange.ownedRanges, isRestorable: false, hosts: hosts)
    let random = Philox(seed: 3, purpose: .tests, stream: world.rank)
    var (sent, moved) = (means, means)
    for round in 0..<40 {
      for i in 0..<layout.count {
        gradient.values[i] = random.uniform(i, tensor: round) - 0.4
        sent[i] += Double(gradient.values[i])
      }
      try exchange.run(
        step: round,
        into: .update { range, values in for i in range { moved[i] += Double(values[i - range.lowerBound]) } })
    }
    var remainders = [Double](repeating: 0, count: layout.count)
    for i in 0..<exchange.residual.count { remainders[i] = Double(exchange.residual[i]) }
    let (allSent, allRemainders) = (try world.allGather(sent), try world.allGather(remainders))
    var worst = (ranks: 0.0, owners: 0.0)
    for i in 0..<layout.count where exchange.ownedRanges.contains(where: { $0.contains(i) }) {
      func sum(_ values: [Double]) -> Double {
        stride(from: i, to: values.count, by: layout.count).reduce(0) { $0 + values[$1] }
      }
      worst.ranks = max(worst.ranks, abs(sum(allSent) - means[i] - sum(allRemainders)))
      let kept = world.count > 1 ? Double(exchange.ownerResidual[exchange.ownedOffset(of: i)!]) : 0
      worst.owners = max(worst.owners, abs(steps[i] - moved[i] - kept))
    }
    #expect(worst.ranks < 1e-3 && worst.owners < 1e-3, "\(worst)")
    // What is held back is far more than that.
    if world.count > 1 { #expect(remainders.contains { abs($0) > 0.1 }) }
  }
}

import Buffers
import Codecs
import Files
import Planner
import Strategies
import Testing
import Trainer
import _TestSupport

/// The models of the planner, against the paper's figures and sums by hand.
@Suite(.oneProcess) struct PlannerModelTests {
  /// The costs of the paper's section 3.2 and table 1, in seconds.
  private func paper(minibatch: Int, floatExchange: Double) -> ScalingModel {
    ScalingModel(
      minibatch: minibatch, frameSeconds: 0.118e-3, postSeconds: 9.2e-3, updateSeconds: 9e-3,
      floatExchangeSeconds: floatExchange)
  }

  @Test func saturationOfThePaper() {
    func text(_ model: ScalingModel, _ ratio: Double, _ isDoubleBuffered: Bool) -> String {
      guard case .ranks(let ranks) = model.saturation(ratio: ratio, isDoubleBuffered: isDoubleBuffered) else { return "none" }
      return Quantity.significant(ranks)
    }
    let table: [(minibatch: Int, oneBit: String, float: String, plainFloat: String)] = [
      (1024, "69.6", "0.224", "0.418"), (2880, "179", "0.576", "1.12"), (16384, "976", "3.14", "6.25"),
    ]
    for row in table {
      let model = paper(minibatch: row.minibatch, floatExchange: 0.32)
      #expect(text(model, 32, true) == row.oneBit)
      #expect(text(model, 1, true) == row.float)
      #expect(text(model, 1, false) == row.plainFloat)
    }
    for (minibatch, float) in [(1024, "0.800"), (2880, "2.06"), (16384, "11.2")] {
      let model = paper(minibatch: minibatch, floatExchange: 0.096)
      #expect(model.saturation(ratio: 32, isDoubleBuffered: true) == .fixedCostLimited)
      #expect(text(model, 1, true) == float)
    }
  }

  @Test func computingTakesAsLongAsTheExchangeAtTheSaturation() {
    let model = paper(minibatch: 16384, floatExchange: 0.32)
    // K̂ = 975.9: below it a half batch is longer than the exchange of 10 ms, above it the exchange is.
    #expect(model.minibatchSeconds(ranks: 975, ratio: 32, isDoubleBuffered: true) > 0.02)
    #expect(model.minibatchSeconds(ranks: 976, ratio: 32, isDoubleBuffered: true) == 0.02)
    // Sums by hand, 1-bit at N = 1024 on 8 ranks: (1024·0.118 + 9.2)/8 + 9 + 10, and twice (512·0.118 + 9.2)/8 + 9.
    let small = paper(minibatch: 1024, floatExchange: 0.32)
    #expect(abs(small.minibatchSeconds(ranks: 8, ratio: 32, isDoubleBuffered: false) - 35.254e-3) < 1e-9)
    #expect(abs(small.minibatchSeconds(ranks: 8, ratio: 32, isDoubleBuffered: true) - 35.404e-3) < 1e-9)
    #expect(abs(small.speedUp(ranks: 8, ratio: 32, isDoubleBuffered: false) - 139.032 / 35.254) < 1e-9)
    #expect(small.speedUp(ranks: 1, ratio: 32, isDoubleBuffered: false) == 1)
  }

  @Test func doubleBufferingDoesNotPayWhereTheFixedCostIsTheLimit() {
    let model = paper(minibatch: 2880, floatExchange: 0.096)
    // The floors: 2 T_upd with double buffering, T_upd + T_float/Z without.
    #expect(abs(model.minibatchSeconds(ranks: 1 << 40, ratio: 32, isDoubleBuffered: true) - 18e-3) < 1e-9)
    #expect(abs(model.minibatchSeconds(ranks: 1 << 40, ratio: 32, isDoubleBuffered: false) - 12e-3) < 1e-9)
  }

  @Test func nominalRatiosAreThoseOfThePaper() throws {
    #expect(try codecs.make("none").nominalRatio == 1)
    #expect(abs(try codecs.make("one-bit").nominalRatio - 32) < 1e-6)
  }

  @Test func aCurveGoesThroughItsPointsAndOnWithTheirLine() {
    let curve = CostCurve([.init(8, 14), .init(2, 5), .init(4, 8)])
    #expect(curve.seconds(for: 4) == 8 && curve.seconds(for: 6) == 11)
    #expect(abs(curve.fixedSeconds - 2) < 1e-9 && abs(curve.secondsPerUnit - 1.5) < 1e-9)
    #expect(abs(curve.seconds(for: 100) - 152) < 1e-6 && abs(curve.seconds(for: 0) - 2) < 1e-6)
    // A disturbed point does not make more work cheaper, and no part of the line is negative.
    let disturbed = CostCurve([.init(1, 3), .init(2, 2), .init(3, 4)])
    #expect(disturbed.seconds(for: 1) == 2.5 && disturbed.seconds(for: 2) == 2.5 && disturbed.seconds(for: 3) == 4)
    let steep = CostCurve([.init(1, 1), .init(2, 4)])
    #expect(steep.fixedSeconds == 0 && steep.secondsPerUnit > 0)
    let one = CostCurve([.init(4, 8)])
    #expect(one.fixedSeconds == 0 && one.seconds(for: 2) == 4 && one.seconds(for: 8) == 16)
    let line = CostCurve(fixed: 1, perUnit: 2)
    #expect(line.seconds(for: 0) == 1 && line.seconds(for: 10) == 21)
  }

  @Test func theWorkLoopOfOneRoundIsSerial() {
    var round = WorkLoopModel.Round()
    (round.encode, round.contributions, round.sum, round.sums, round.decode) = (4, 10, 2, 10, 4)
    // Four messages: the first leaves after a quarter of the encoding, the last sum is decoded alone.
    // 1 + 10 + latency 3, sum 2, 10 + latency 3, 1.
    #expect(WorkLoopModel(rounds: [round], latency: 3, messagesPerStage: 4).seconds == 30)
    // With nothing to send, the kernels follow one another.
    (round.contributions, round.sums) = (0, 0)
    #expect(WorkLoopModel(rounds: [round], latency: 0, messagesPerStage: 4).seconds == 10)
    #expect(WorkLoopModel(rounds: [], latency: 3, messagesPerStage: 4).seconds == 0)
  }

  @Test func moreRoundsOverlap() {
    var round = WorkLoopModel.Round()
    (round.encode, round.contributions, round.sum, round.sums, round.decode) = (1, 10, 1, 10, 1)
    let many = WorkLoopModel(rounds: Array(repeating: round, count: 20), latency: 2, messagesPerStage: 7).seconds
    // The link is never idle for long: 20 · 20 of sending, and at the ends a little that nothing hides.
    #expect(many >= 400 && many <= 400 + 10)
    // Where kernels are the limit, sending is hidden.
    (round.encode, round.contributions, round.sum, round.sums, round.decode) = (10, 1, 10, 1, 10)
    let busy = WorkLoopModel(rounds: Array(repeating: round, count: 20), latency: 2, messagesPerStage: 7).seconds
    #expect(busy >= 600 && busy <= 600 + 20)
  }

  @Test func quantitiesAreReadAsPeopleWriteThem() {
    let times = [("0.118ms", 0.118e-3), ("50us", 50e-6), ("50 µs", 50e-6), ("2", 2), ("3s", 3), ("1e-3s", 1e-3), ("7ns", 7e-9)]
    for (text, seconds) in times { #expect(abs((Quantity.seconds(text) ?? -1) - seconds) < 1e-15, "\(text)") }
    for text in ["", "ms", "-1ms", "1 hour", "nan", "inf", "1e999"] { #expect(Quantity.seconds(text) == nil, "\(text)") }
    let rates = [("100mbit", 1e8), ("1gbit", 1e9), ("40 Gbit/s", 4e10), ("1.25GB/s", 1e10), ("56kbit", 56e3)]
    for (text, rate) in rates { #expect(Quantity.bitsPerSecond(text) == rate, "\(text)") }
    for text in ["", "100", "0mbit", "-1mbit", "1 apple"] { #expect(Quantity.bitsPerSecond(text) == nil, "\(text)") }
    #expect(Quantity.text(ofSeconds: 0.0143) == "14.3 ms" && Quantity.text(ofSeconds: 1) == "1.00 s")
    #expect(Quantity.text(ofSeconds: 0.99996) == "1.00 s" && Quantity.text(ofSeconds: 1.96e-4) == "196 µs")
    #expect(Quantity.text(ofBitsPerSecond: 1e8) == "100 Mbit/s" && Quantity.text(ofBitsPerSecond: 4e10) == "40.0 Gbit/s")
    #expect(Quantity.significant(0.2238) == "0.224" && Quantity.significant(16384) == "16384")
    #expect(Quantity.significant(99.96) == "100" && Quantity.significant(9.996) == "10.0")
  }
}

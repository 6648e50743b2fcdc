import Buffers
import Codecs
import Collectives
import Foundation
import Planner
import Reporting
import Strategies
import Testing
import Trainer
import _TestSupport

/// What a plan says: the recommendation, the table, the files.
@Suite(.oneProcess) struct PlannerRecommendationTests {
  private let layout = TensorLayout([
    ("layers.2.weight", [10, 512]), ("layers.2.bias", [10]), ("layers.1.weight", [512, 784]), ("layers.1.bias", [512]),
  ])

  /// A plan for `ranks` hosts on a link of that rate, with kernels of 2 · 10⁹ values a second.
  private func plan(_ layout: TensorLayout, bitsPerSecond: Double, sampleSeconds: Double = 20e-6, ranks: Int? = 8)
    -> ScalingPlan
  {
    let kernels = KernelCosts(encode: 0.5e-9, decode: 0.3e-9, sum: 0.1e-9, sumPerCode: 0.1e-9)
    let costs = PlanCosts(
      compute: CostCurve(fixed: 1e-4, perUnit: sampleSeconds), updateSeconds: 0.4e-9 * Double(layout.count),
      kernels: ["one-bit:group=row": kernels, "none": KernelCosts(encode: 0.1e-9, sum: 0.1e-9, sumPerCode: 0.1e-9)],
      network: LinkCosts(latency: 20e-6, messageSeconds: 1e-6, bitsPerSecond: bitsPerSecond), ranksPerHost: 1)
    return try! ScalingPlan(
      StepPredictor(layout, minibatch: 256, costs: costs),
      aggregations: [AggregationRecipe(Identity()), AggregationRecipe(OneBit())], subject: "a model", costs: [],
      ranks: ranks)
  }

  @Test func aSlowLinkAsksForOneBit() throws {
    let recommendation = try #require(Recommendation(plan(layout, bitsPerSecond: 1e8)) { !$0.isDoubleBuffered })
    #expect(recommendation.choice.variant.codec == "one-bit:group=row" && recommendation.ranks == 8)
    #expect(recommendation.sentence.hasPrefix("On 8 ranks use --codec one-bit:group=row: a step takes "))
    #expect(recommendation.sentence.contains("times less than with floats"))
  }

  @Test func aCodeIsComparedByTheTimeOfItsSignal() throws {
    func choice(_ lost: Double?) throws -> Recommendation {
      var costs = PlanCosts(
        compute: CostCurve(fixed: 1e-4, perUnit: 20e-6), updateSeconds: 1e-4,
        network: LinkCosts(latency: 20e-6, messageSeconds: 1e-6, bitsPerSecond: 1e8), ranksPerHost: 1)
      costs.lostSignal["silent"] = lost
      let plan = try ScalingPlan(
        StepPredictor(layout, minibatch: 256, costs: costs),
        aggregations: [AggregationRecipe(Identity()), AggregationRecipe(SilentCodec())], subject: "", costs: [], ranks: 8)
      return try #require(Recommendation(plan) { !$0.isDoubleBuffered })
    }
    // However fast it is: it must carry something, and enough of it.
    for lost in [1, 1.5, .infinity, .nan] {
      let found = try choice(lost)
      #expect(found.choice.variant.codec == "none" && found.sentence.contains("; a code carries no signal"))
    }
    let (unknown, half) = (try choice(nil), try choice(0.5))
    #expect(unknown.choice.variant.codec == "silent" && half.choice.variant.codec == "silent")
    #expect(half.sentence.contains("; a code carries 50.0 % of the signal, all of it takes "))
    let gain = try #require(unknown.floats).seconds / unknown.choice.seconds
    #expect(gain > 4)
    for (factor, codec) in [(0.99, "silent"), (1.01, "none")] {
      #expect(try choice(1 - 1 / (factor * gain)).choice.variant.codec == codec)
    }
  }

  @Test func aFastLinkAndASmallModelNeedNoCompression() throws {
    let small = TensorLayout([("weights", [10, 784]), ("biases", [10])])
    for isAllowed in [{ (_: StepVariant) in true }, { !$0.isDoubleBuffered }] {
      let recommendation = try #require(Recommendation(plan(small, bitsPerSecond: 4e10), isAllowed: isAllowed))
      #expect(recommendation.choice.variant == StepVariant(codec: "none"))
      #expect(recommendation.sentence.hasPrefix("Do not compress here: on 8 ranks a step takes "))
    }
  }

  @Test func whatIsNotAllowedIsNotRecommended() throws {
    // Computing half a minibatch takes longer than an exchange, which double buffering would hide.
    let balanced = plan(layout, bitsPerSecond: 1e9, sampleSeconds: 70e-6)
    let free = try #require(Recommendation(balanced) { _ in true })
    #expect(free.choice.variant.isDoubleBuffered && free.sentence.contains("--strategy double-buffer"))
    let bound = try #require(Recommendation(balanced) { !$0.isDoubleBuffered })
    #expect(!bound.choice.variant.isDoubleBuffered)
  }

  /// A topology that the run is given is that of the recommendation.
  @Test func aTopologyThatIsChosenIsRecommended() throws {
    var costs = PlanCosts(
      compute: CostCurve(fixed: 1e-4, perUnit: 20e-6), updateSeconds: 1e-4,
      kernels: ["none": KernelCosts(encode: 0.1e-9, sum: 0.1e-9, sumPerCode: 0.1e-9)],
      network: LinkCosts(latency: 20e-6, messageSeconds: 1e-6, bitsPerSecond: 1e9), ranksPerHost: 4)
    costs.memory = LinkCosts(latency: 1e-6, messageSeconds: 0, bitsPerSecond: 1e11)
    let plan = try ScalingPlan(
      StepPredictor(layout, minibatch: 256, costs: costs), aggregations: [AggregationRecipe(Identity())], subject: "a model",
      costs: [], ranks: 16)
    func topologies(_ topology: Topology, ranks: Int) -> Set<PlanTopology> {
      var request = PlanRequest()
      request.options.topology = topology
      return Set(request.restrictingTopology(of: plan).predictions.filter { $0.ranks == ranks }.map(\.variant.topology))
    }
    #expect(topologies(.auto, ranks: 16) == [.flat, .hierarchical])
    #expect(topologies(.flat, ranks: 16) == [.flat] && topologies(.hierarchical, ranks: 16) == [.hierarchical])
    // On one host, and on one rank, both are the same.
    #expect(topologies(.hierarchical, ranks: 4) == [.flat] && topologies(.hierarchical, ranks: 1) == [.flat])
    for topology in [Topology.flat, .hierarchical] {
      var request = PlanRequest()
      request.options.topology = topology
      let recommendation = try #require(Recommendation(request.restrictingTopology(of: plan), isAllowed: request.allows))
      #expect(recommendation.choice.variant.topology.rawValue == topology.rawValue)
    }
  }

  @Test func aLinkThatIsTooFastToMeasureHasNoRate() {
    let link = LinkCosts(latency: 1e-6, messageSeconds: 0, bitsPerSecond: 8e9)
    #expect(link.rateText(from: "each rank") == "8.00 Gbit/s from each rank when all send")
    var free = link
    free.transfer = CostCurve(perUnit: 0)
    #expect(free.rateText(from: "each rank") == "sending takes too little time to measure a rate")
  }

  @Test func withoutARankCountItSaysHowManyPay() throws {
    let recommendation = try #require(Recommendation(plan(layout, bitsPerSecond: 1e9, ranks: nil)))
    #expect(recommendation.ranks == recommendation.pays.ranks && recommendation.ranks > 1)
    #expect(recommendation.pays.speedUp >= 0.5 * Double(recommendation.pays.ranks))
    #expect(recommendation.sentence.contains("More ranks pay up to about \(recommendation.ranks)"))
    // On a link that is too slow for anything one rank is best, and the sentence says so.
    let alone = try #require(Recommendation(plan(layout, bitsPerSecond: 1e5, ranks: nil)))
    #expect(alone.ranks == 1 && alone.sentence.contains("More ranks do not pay"))
    let slow = try #require(Recommendation(plan(layout, bitsPerSecond: 1e5, ranks: 4)))
    #expect(slow.sentence.contains("One rank alone would be"))
  }

  @Test func theTableHasARowForEachRankCountAndTheObjectAllNumbers() throws {
    let plan = plan(layout, bitsPerSecond: 1e8, ranks: 24)
    let rows = plan.text.split(separator: "\n")
    for count in [1, 2, 16, 24, 256] {
      #expect(rows.contains { $0.hasPrefix("  \(String(repeating: " ", count: 5 - "\(count)".count))\(count)  ") })
    }
    #expect(!plan.text.contains("\n    512  ") && plan.text.contains("K̂"))
    let object = try #require(
      JSONSerialization.jsonObject(with: Data("\(plan.json(Recommendation(plan)))".utf8)) as? [String: Any])
    let predictions = try #require(object["predictions"] as? [[String: Any]])
    #expect(predictions.count == 2 * 2 * 10)
    #expect(predictions.allSatisfy { ($0["seconds"] as? Double ?? 0) > 0 && ($0["speedUp"] as? Double ?? 0) > 0 })
    #expect((object["saturation"] as? [[String: Any]])?.count == 2)
    #expect(((object["recommendation"] as? [String: Any])?["ranks"] as? Int) == 24)
  }

  @Test func thePictureIsXMLWithACurveForEachVariant() throws {
    var plan = plan(layout, bitsPerSecond: 1e8)
    plan.subject = "<a> & \"b\""
    let text = plan.plot.text
    #expect(text.contains("&lt;a&gt; &amp; &quot;b&quot;"))
    #expect(text.components(separatedBy: "<polyline").count - 1 == 5)
    for name in ["none", "one-bit:group=row, double-buffered", "linear", "ranks", "times faster than one rank"] {
      #expect(text.contains(">\(name)</text>"))
    }
    // Every element is closed.
    let opened = text.components(separatedBy: "<").count - 1
    let closed = text.components(separatedBy: "/>").count - 1 + 2 * (text.components(separatedBy: "</").count - 1)
    #expect(opened == closed)
  }

  @Test func pointsLieWhereTheAxesSay() {
    let plot = SVGPlot(
      title: "t", x: .init("x", .logarithmic(base: 10)), y: .init("y"),
      series: [.init("s", [(1, 0), (10, 5), (100, 10), (0, 3), (1000, .nan)])])
    // The frame is 80…630 by 470…50; what has no place on an axis is left out.
    #expect(plot.text.contains(#"points="80.0,470.0 355.0,260.0 630.0,50.0""#))
    for tick in ["1", "10", "100", "0", "4"] { #expect(plot.text.contains(">\(tick)</text>")) }
    // Nothing to show is no reason to fail.
    #expect(SVGPlot(title: "", x: .init(""), y: .init("", .logarithmic(base: 2)), series: []).text.hasSuffix("</svg>\n"))
  }

  @Test(.oneProcess) func aCodecIsComparedOnceHoweverItIsWritten() throws {
    var request = PlanRequest()
    request.codecs = ["top-k", "top-k:k=1/100", "lazy:depth=10", "lazy", "top-k:k=1/50"]
    #expect(try request.chosenAggregations().count == 4)
  }
}

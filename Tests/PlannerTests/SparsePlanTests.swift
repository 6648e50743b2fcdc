import Buffers
import Codecs
import Collectives
import MPI
import Planner
import Testing
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Plans of aggregations that pass rounds of messages.
@Suite struct SparsePlanTests {
  private static let specifications = aggregations.entries.map(\.name).filter { name in
    !codecs.entries.contains { $0.name == name }
  }
  private let layout = TensorLayout([("weights", [200, 300]), ("biases", [300])])

  private func predictor(_ specification: String, work: SparseCosts, link: LinkCosts, ranksPerHost: Int = 1) -> StepPredictor {
    var costs = PlanCosts(compute: CostCurve(perUnit: 1e-5), network: link, memory: link, ranksPerHost: ranksPerHost)
    costs.sparse[specification] = work
    return StepPredictor(layout, minibatch: 1 << 10, costs: costs)
  }

  /// What is planned for these ranks is what an exchange of theirs says of itself.
  @Test(arguments: specifications) func bytesAreThoseOfTheExchange(_ name: String) throws {
    let recipe = try aggregations.make(name)
    let (rank, count) = (world.rank, world.count)
    for transport in [Transport.auto, .messages] {
      let hosts = try HostMap(world, transport: transport)
      let gradient = try SharedGradient(count: layout.count, hosts: hosts, isShared: false)
      let exchange = try recipe(AggregationParts(hosts: hosts, layout: layout, gradients: [gradient]))
      let rounds = try recipe.rounds(layout, rankCount: count)
      let sent = rounds.reduce(Traffic()) { $0 + $1.mostSent(by: rank, of: count) { hosts.hostRanks[$0] != nil } }
      // The search for a threshold comes on top.
      if name != "true-top-k" {
        #expect(
          sent.bytesSent == exchange.predictedTraffic.bytesSent && sent.messagesSent == exchange.predictedTraffic.messagesSent)
      }
      #expect(sent.bytesSent <= exchange.predictedTraffic.bytesSent)
    }
  }

  @Test(.oneProcess, arguments: specifications) func timesAddUp(_ name: String) throws {
    let recipe = try aggregations.make(name)
    let specification = recipe.specification
    let work = SparseCosts(encode: 1e-3, sum: 8e-3, decode: 0)
    // Without a link, what owners do is shared, and what each rank encodes is not.
    let free = predictor(specification, work: work, link: LinkCosts(latency: 0, transfer: CostCurve(perUnit: 0)))
    let alone = try #require(try free.predict(recipe, ranks: 1))
    #expect(abs(alone.exchangeSeconds - 9e-3) < 1e-12 && alone.bytesSent == 0)
    for ranks in [2, 8, 64] {
      let prediction = try #require(try free.predict(recipe, ranks: ranks))
      #expect(abs(prediction.exchangeSeconds - (1e-3 + 8e-3 / Double(ranks))) < 1e-12)
      #expect(prediction.bytesSent > 0)
    }
    // Bytes cost time, and stages a latency each.
    let slow = predictor(specification, work: work, link: LinkCosts(latency: 1e-3, bitsPerSecond: 1e8))
    let far = try #require(try slow.predict(recipe, ranks: 8))
    let rounds = try recipe.rounds(layout, rankCount: 8)
    let stages = rounds.reduce(0) { $0 + ($1.isAnnounced ? 2 : 1) }
    let wire = Double(far.bytesSent) * 8 / 1e8 + Double(stages) * 1e-3
    #expect(abs(far.exchangeSeconds - (1e-3 + 1e-3 + wire)) < 1e-9)
    // Half of it is hidden at best with half batches.
    let delayed = try #require(try slow.predict(recipe, ranks: 8, strategy: .doubleBuffer))
    #expect(delayed.seconds >= 2 * far.exchangeSeconds - 1e-9)
    // Ranks that share a link send over it in turn.
    let shared = predictor(specification, work: work, link: LinkCosts(latency: 1e-3, bitsPerSecond: 1e8), ranksPerHost: 4)
    #expect(try #require(try shared.predict(recipe, ranks: 8)).exchangeSeconds > far.exchangeSeconds)
    // Nothing is predicted of what was not measured.
    #expect(
      try StepPredictor(layout, minibatch: 64, costs: PlanCosts(compute: CostCurve(perUnit: 1))).predict(recipe, ranks: 1)
        == nil)
  }

  @Test(.oneProcess) func sketchesAreSmallerThanFloats() throws {
    let layout = TensorLayout([("weights", [1000, 1000])])
    let predictor = StepPredictor(layout, minibatch: 64, costs: PlanCosts(compute: CostCurve(perUnit: 1)))
    // 5 rows of a fiftieth of the values on the way there, a hundredth of them with indices on the way back.
    let ratio = try predictor.ratio(of: aggregations.make("fetch-sgd:recovery=subtract"))
    #expect(ratio > 8 && ratio < 20, "\(ratio)")
    #expect(try predictor.ratio(of: aggregations.make("true-top-k")) < 2)
  }
}

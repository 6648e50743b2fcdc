import Buffers
import Codecs
import Collectives
import Datasets
import Foundation
import MPI
import Networks
import Optimizers
import Planner
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Plans whose costs are measured on the ranks of the tests.
@Suite(.serialized, .ranks(atMost: 3)) struct PlannerMeasurementTests {
  private func request(_ change: (inout PlanRequest) -> Void = { _ in }) -> PlanRequest {
    var request = PlanRequest()
    request.options.model = "mlp:24,16"
    request.options.data = "glyphs:train=330,test=70"
    request.options.minibatch = 50
    request.options.quiet = true
    request.isBrief = true
    request.codecs = ["one-bit", "multi-bit"]
    change(&request)
    return request
  }

  @Test(.ranks(atMost: 2)) func rankZeroGetsAPlanForItsRanks() throws {
    for transport in ["auto", "messages"] {
      let planner = try Planner(request { try? $0.options.set("transport", to: transport) }, on: world)
      #expect((planner.plan != nil) == (world.rank == 0))
      guard let plan = planner.plan else { continue }
      #expect(plan.minibatch == 50 && plan.ranks == (world.count > 1 ? world.count : nil))
      for codec in ["none", "one-bit:group=row"] {
        let prediction = try #require(plan.prediction(StepVariant(codec: codec), ranks: world.count))
        #expect(prediction.seconds > 0 && prediction.seconds < 10)
        #expect((prediction.bytesSent > 0) == (world.count > 1))
      }
      // Nothing is known of ranks on other hosts, unless ranks send messages as if they were on them.
      let isKnown = transport == "messages" && world.count > 1
      #expect((plan.prediction(StepVariant(codec: "none"), ranks: 32) != nil) == isKnown)
      #expect((plan.model != nil) == isKnown)
      let sentence = try #require(Recommendation(plan)).sentence
      #expect(!sentence.contains("give --bandwidth and --latency") || !isKnown)
      let costs = "\(planner.costs)"
      #expect(costs.contains("\"ranks\":\(world.count)"))
      // On its own ranks steps are not only summed up, but measured.
      guard world.count > 1 else { continue }
      let steps = try #require(costs.components(separatedBy: "\"steps\":{").last?.prefix { $0 != "}" })
      for codec in ["none", "one-bit:group=row"] {
        let number = try #require(steps.components(separatedBy: "\"\(codec)\":").last?.prefix { $0 != "," })
        let seconds = try #require(Double(number))
        #expect(try #require(plan.prediction(StepVariant(codec: codec), ranks: world.count)).seconds >= 0.999 * seconds)
      }
    }
  }

  @Test func whatIsGivenIsNotMeasured() throws {
    let planner = try Planner(
      request {
        $0.frameSeconds = 3e-3
        $0.updateSeconds = 5e-3
        $0.postSeconds = 7e-3
        $0.bandwidth = 1e7
        $0.latency = 2e-3
        $0.ranksPerHost = 1
      }, on: world)
    guard let plan = planner.plan else { return }
    let model = try #require(plan.model)
    #expect(model.frameSeconds == 3e-3 && model.updateSeconds == 5e-3 && model.postSeconds == 7e-3)
    // 784·24 + 24 + 24·16 + 16 + 16·10 + 10 values; each is sent twice by every rank.
    let values = 19_410.0
    #expect(abs(model.floatExchangeSeconds - values * 8 * 8 / 1e7) < 1e-9)
    #expect(abs(plan.oneRankSeconds - (50 * 3e-3 + 5e-3 + 7e-3)) < 1e-9)
    let far = try #require(plan.prediction(StepVariant(codec: "none"), ranks: 32))
    #expect(far.hosts == 32 && far.computeSeconds == 2 * 3e-3)
    // Two stages and an agreement of 31 messages each, of 2 ms and what handing out a message takes; bytes; the update.
    #expect(far.seconds > far.computeSeconds + 3 * 2e-3 + Double(far.bytesSent) * 8 / 1e7)
  }

  @Test(.ranks(atMost: 2)) func whatOwnersDoIsSharedByTheRanks() throws {
    for (optimizer, hasOwners) in [("sgd", false), ("adagrad:place=aggregate", true), ("adagrad:place=momentum", false)] {
      let planner = try Planner(
        request {
          $0.options.optimizer = optimizer
          $0.codecs = ["one-bit"]
          ($0.bandwidth, $0.latency) = (1e9, 1e-4)
        }, on: world)
      guard let plan = planner.plan else { continue }
      #expect((try #require(plan.model).postSeconds > 0) == hasOwners, "\(optimizer)")
    }
  }

  /// What is measured is what a run does: tensors decay, or do not, each for itself.
  @Test func theUpdateIsMeasuredWithTheTensorsOfTheNetwork() throws {
    let options = options { ($0.optimizer, $0.weightDecay) = ("adamw", 0.5) }
    let (run, grid) = (try PlainRun(options), try RankGrid(HostMap(world)))
    let parts = StrategyParts(
      measuring: try Recipe(options), options: options, network: run.network, sampleCount: run.data.count(.train), on: grid,
      records: try RecordExchange(grid.all))
    for i in 0..<run.weights.count { (run.weights[i], run.gradient[i]) = (1, 0) }
    parts.optimizer.prepare(samples: options.minibatch, share: 1)
    parts.optimizer.update(0..<run.weights.count, of: run.weights, with: run.gradient.baseAddress, rate: 0.5)
    for tensor in run.network.layout.tensors {
      let expected: Float = tensor.shape.count > 1 ? 0.75 : 1
      #expect(run.weights.values(in: tensor.range).allSatisfy { $0 == expected }, "\(tensor.name)")
    }
  }

  /// What a probe measures is the run's own: its gradients, on its samples, and nothing of the model changes.
  @Test func aProbeComputesWhatARunComputes() throws {
    let options = options { ($0.minibatch, $0.optimizer) = (48, "sgd") }
    let (run, grid) = (try PlainRun(options), try RankGrid(HostMap(world)))
    let records = try RecordExchange(grid.all)
    let parts = StrategyParts(
      measuring: try Recipe(options), options: options, network: run.network, sampleCount: run.data.count(.train), on: grid,
      records: records)
    let probe = ComputeProbe(repetitions: Repetitions(records: records), parts: parts, dataset: run.data)
    for i in 0..<parts.parameters.count { parts.parameters[i] = Philox(seed: 3, purpose: .tests).uniform(i) - 0.5 }
    let before = Array(parts.parameters.values)
    let gradient = FloatBuffer(count: before.count)
    // The same samples twice are the same gradient; after them come others.
    func gradients(_ count: Int) throws -> [[Float]] {
      let work = probe.workAlone(samples: 5, into: gradient)
      return try (0..<count).map { _ in
        try work()
        return Array(gradient.values)
      }
    }
    let (first, again) = (try gradients(2), try gradients(1))
    #expect(first[0] == again[0] && first[0] != first[1] && first[0].contains { $0 != 0 })
    // A quarter and half of a rank's share, the share, twice that, and a whole minibatch.
    let curve = try probe.gradientCurve(Repetitions.Effort(seconds: 0.5, turns: 1), into: gradient)
    let share = (48 - 1) / world.count + 1
    let most = min(48, run.data.count(.train) / world.count)
    let counts = Set([max(1, share / 4), max(1, share / 2), min(share, most), min(2 * share, most), most]).sorted()
    #expect(curve.points.map { Int($0.amount) } == counts && curve.points.allSatisfy { $0.seconds > 0 })
    let codec = AggregationRecipe(OneBit())
    #expect(try probe.stepSeconds(codec, samples: 5, Repetitions.Effort(seconds: 0.01, turns: 1)) > 0)
    #expect(Array(parts.parameters.values) == before)
  }

  /// Against plain loops: the largest two of every eight values of each rank, and what they leave.
  @Test func whatCodesLeaveIsThatOfAllRanksWithTheResidual() throws {
    let (count, layout) = (200, TensorLayout([("weights", [10, 20])]))
    let probe = SignalProbe(
      repetitions: Repetitions(records: try RecordExchange(HostMap(world))), layout: layout)
    func values(_ step: Int, _ rank: Int) -> [Float] {
      (0..<count).map { Float(Philox(seed: 8, purpose: .tests).word($0, tensor: 10 * step + rank) % 201) - 100 }
    }
    let gradient = FloatBuffer(count: count)
    var step = 0
    let found = try probe.measure([codecs.make("chunk-top-k:k=2,chunk=8,values=float"), OneBit()], of: gradient) {
      _ = gradient.values.update(fromContentsOf: values(step, world.rank))
      step += 1
    }
    var (lost, all) = (0.0, 0.0)
    for rank in 0..<world.count {
      var residual = [Float](repeating: 0, count: count)
      for past in 0..<step {
        for (i, g) in values(past, rank).enumerated() { residual[i] += g }
        if past > 0 { all += residual.reduce(0) { $0 + Double($1) * Double($1) } }
        for start in stride(from: 0, to: count, by: 8) {
          let order = (start..<start + 8).sorted { (residual[$0].magnitude, -$0) > (residual[$1].magnitude, -$1) }
          for i in order.prefix(2) { residual[i] = 0 }
        }
        if past > 0 { lost += residual.reduce(0) { $0 + Double($1) * Double($1) } }
      }
    }
    #expect(step > 1 && found.count == 2)
    let share = try #require(found.first { $0.key.hasPrefix("chunk-top-k") }?.value)
    #expect(abs(share - lost / all) < 1e-12 && share > 0.2 && share < 0.8)
    let bits = try #require(found["one-bit:group=row"])
    #expect(bits > 0.1 && bits < 0.9)
    #expect(try Set(world.allGather([bits.bitPattern])).count == 1)
    // Nothing arrives, nothing is to be lost, and nothing that is a number.
    for (codec, value, expected) in [(SilentCodec(), 0.5, 1), (OneBit(), 0, 0), (OneBit(), .nan, .infinity)]
      as [(any Codec, Float, Double)]
    {
      let found = try probe.measure([codec], of: gradient) { gradient.values.update(repeating: value) }
      #expect(found == [codec.specification: expected])
    }
  }

  @Test(.ranks(atLeast: 2)) func allRanksTakeTheSameCodecForTheSameReason() throws {
    let options = options { ($0.minibatch, $0.codec) = (48, "auto") }
    let (run, grid) = (try PlainRun(options), try RankGrid(HostMap(world)))
    let parts = StrategyParts(
      measuring: try Recipe(options), options: options, network: run.network, sampleCount: run.data.count(.train), on: grid,
      records: try RecordExchange(grid.all))
    let choice = try measuredCodec(for: parts, on: run.data)
    #expect(try comparedCodecs.map { try codecs.make($0).specification }.contains(choice.codec))
    #expect(choice.reason.contains("with floats") && choice.reason.contains("% of the signal"))
    #expect(try Set(world.allGather([XXHash64.hash("\(choice)")])).count == 1)
  }

  /// A ramp is over soon: a plan is for what comes after it, and says so.
  @Test(.ranks(atMost: 2)) func aPlanIsForTheTimeAfterARamp() throws {
    let planner = try Planner(request { $0.codecs = ["dgc:k=1/50,shards=1", "top-k:k=1/50,shards=1"] }, on: world)
    guard let plan = planner.plan else { return }
    let ramped = try #require(plan.prediction(StepVariant(codec: "dgc:k=1/50,mask=true,ramp=200,shards=1"), ranks: world.count))
    let plain = try #require(plan.prediction(StepVariant(codec: "top-k:k=1/50,feedback=rank,shards=1"), ranks: world.count))
    #expect(ramped.bytesSent == plain.bytesSent)
    #expect(
      plan.costs.contains { $0.text == "the exchanges of dgc:k=1/50,mask=true,ramp=200,shards=1 are those after its ramp" })
  }

  @Test func faultsAreSentences() {
    let faults: [((inout PlanRequest) -> Void, String)] = [
      ({ $0.ranks = 0 }, "--ranks"), ({ $0.ranks = 51 }, "--ranks 51 is more than --minibatch 50"),
      ({ $0.ranksPerHost = 0 }, "--ranks-per-host"), ({ $0.codecs = ["onebit"] }, "did you mean 'one-bit'?"),
      ({ ($0.bandwidth, $0.floatExchangeSeconds) = (1, 1) }, "give the same cost"),
    ]
    for (change, words) in faults {
      let error = #expect(throws: OptionError.self) { try request(change).validate() }
      #expect(error?.description.contains(words) == true, "\(words)")
    }
    #expect(throws: Never.self) { try request().validate() }
  }

  private var world: Communicator { World.communicator }
}

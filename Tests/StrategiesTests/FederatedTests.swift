import Buffers
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Rounds of clients: federated averaging, and with a hold at the model where they began.
@Suite(.serialized, .ranks(atMost: 4)) struct FederatedTests {
  private func settings(_ strategy: String, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.strategy, $0.codec, $0.momentum, $0.learningRate) = (strategy, "none", 0.5, 0.1)
      ($0.schedule, $0.warmStart, $0.steps) = ("constant", nil, 16)
      ($0.partition, $0.clients, $0.sampled) = ("by-class:2", 10, 5)
      change(&$0)
    }
  }

  /// Every client has its turns, and in a round each only one.
  @Test(.oneProcess) func roundsSampleClients() {
    var clients = RoundClients(clientCount: 7, sampledCount: 3, minibatch: 11, seed: 4)
    var counts = [Int](repeating: 0, count: 7)
    for round in 0..<40 {
      let sampled = clients.sampled(in: round)
      #expect(Set(sampled).count == 3 && sampled == clients.sampled(in: round))
      for client in sampled { counts[client] += 1 }
      // Two ranks share them.
      #expect(clients.places(of: 0, among: 2) == [0, 2] && clients.places(of: 1, among: 2) == [1])
      // A share of eleven samples is four or three.
      let first = clients.samples(of: sampled[0], at: 0, offset: 2)
      #expect(first.count == 4 && first.lowerBound == clients.taken[sampled[0]] + 8)
      clients.advance(past: round, stepCount: 5)
      #expect(clients.taken[sampled[0]] == first.lowerBound - 8 + 20)
    }
    #expect(counts.allSatisfy { $0 > 5 })
    var copy = RoundClients(clientCount: 7, sampledCount: 3, minibatch: 11, seed: 4)
    copy.restore(clients.counter)
    #expect(copy == clients)
    copy.restore("1 2")
    #expect(copy == clients)
    // If all take part, each is always at the same place.
    #expect(RoundClients(clientCount: 4, sampledCount: 4, minibatch: 8, seed: 1).sampled(in: 3) == [0, 1, 2, 3])
    #expect(RoundClients(clientCount: 4, sampledCount: 1, minibatch: 8, seed: 1).places(of: 2, among: 3) == [])
  }

  /// The model does not depend on the ranks that train the clients, up to the order of sums; runs repeat, and a code carries the changes.
  @Test func clientsAreTrainedByAnyRanks() throws {
    let run = settings("fed-avg:steps=4")
    let (all, alone) = (try trainedModel(run), try world.split(color: world.rank)!)
    let own = try trainedModel(run, on: alone)
    let distance = (0..<all.values.count).map { abs(all.values[$0] - own.values[$0]) }.max()!
    #expect(distance < 1e-5)
    #expect(try train(run).modelHash == all.hash)
    try world.barrier()
    // Fewer clients than ranks: some ranks have none.
    let few = settings("fed-avg:steps=4") { ($0.clients, $0.sampled, $0.partition) = (10, 1, "iid") }
    #expect(try train(few).evaluation!.loss.isFinite)
    var coded = run
    (coded.codec, coded.steps) = ("one-bit", 60)
    let start = try train(settings("fed-avg:steps=4") { ($0.steps, $0.learningRate) = (4, 1e-6) }).evaluation!.loss
    #expect(try train(coded).evaluation!.loss < start)
  }

  /// Rounds of clients that hold unlike numbers of samples are those of a few plain lines, whatever ranks train them.
  @Test(arguments: [("fed-avg:steps=4", 10, 0), ("fed-avg:steps=2", 3, 0), ("fed-prox:steps=4,proximal=0.5", 5, 0.5)])
  func clientsAreThoseOfPlainLines(_ strategy: String, _ sampled: Int, _ proximal: Float) throws {
    let run = settings(strategy) { ($0.partition, $0.sampled) = ("dirichlet:0.3", sampled) }
    let found = try trainedModel(run).values
    guard world.rank == 0 else { return }
    var plain = PlainClients(steps: strategy.contains("steps=2") ? 2 : 4, sampled: sampled, proximal: proximal)
    #expect(farthest(found, try plain.train(run)).distance < 1e-5)
    // It can fail: clients that count alike come elsewhere.
    plain.isWeighted = false
    #expect(farthest(found, try plain.train(run)).distance > 1e-3)
  }

  /// Clients differ from one another, and are held together by μ; without it they are those of averaging, bit for bit.
  @Test func clientsAreHeld() throws {
    func drift(_ strategy: String) throws -> Double {
      try #require(try metrics(settings(strategy)).lines.last?["drift"] as? Double)
    }
    let drifts = try ["fed-avg:steps=8", "fed-prox:steps=8,proximal=0.5", "fed-prox:steps=8,proximal=2"].map(drift)
    #expect(drifts[1] < 0.95 * drifts[0] && drifts[2] < 0.9 * drifts[1], "\(drifts)")
    let average = try train(settings("fed-avg:steps=8")).modelHash
    #expect(try train(settings("fed-prox:steps=8,proximal=0")).modelHash == average)
    #expect(try train(settings("fed-prox:steps=8")).modelHash != average)
  }

  /// Where each client has given its samples is a part of the state.
  @Test(arguments: ["none", "one-bit"]) func resumesBitForBit(_ codec: String) throws {
    let run = settings("fed-avg:steps=4,warm-start=0") { $0.codec = codec }
    let whole = try train(run).modelHash
    #expect(try trainBrokenOff(after: 8, run, period: 4).modelHash == whole)
  }

  /// Passes over its own samples, as many steps as they need: clients that hold as much do what as many steps are, and the others
  /// not.
  @Test func clientsMakePasses() throws {
    let alike = settings("fed-avg:steps=4") { $0.partition = "iid" }
    // 33 samples of each in tens: 1.2 passes are 39.6 samples, four steps; 1.3 are 42.9, five.
    let four = try train(alike).modelHash
    func hash(_ keys: String) throws -> UInt64 { try train(settings("fed-avg:\(keys)") { $0.partition = "iid" }).modelHash }
    #expect(try hash("steps=4,epochs=1.2") == four)
    #expect(try hash("steps=4,epochs=1.3") != four)
    // A round counts as its steps, whatever clients take in it.
    let unequal = settings("fed-avg:steps=4,epochs=2") { ($0.partition, $0.codec) = ("dirichlet:0.5", "one-bit") }
    let (outcome, lines) = try metrics(unequal)
    #expect(lines.last?["rounds"] as? Int == 4)
    #expect(try trainBrokenOff(after: 8, unequal, period: 4).modelHash == outcome.modelHash)
    let error = #expect(throws: (any Error).self) {
      try train(settings("fed-avg:epochs=2") { ($0.clients, $0.sampled, $0.partition) = (nil, nil, "iid") })
    }
    #expect("\(error!)".contains("epochs are passes of a client"), "\(error!)")
  }

  /// The steps of some passes: the last may begin another.
  @Test(.oneProcess) func passesAreSteps() {
    var clients = RoundClients(clientCount: 7, sampledCount: 3, minibatch: 11, seed: 4)
    // Shares of 4, 4 and 3 samples.
    #expect((0..<3).map { clients.steps(for: 1, over: 9, at: $0) } == [3, 3, 3])
    #expect(clients.steps(for: 2, over: 9, at: 0) == 5 && clients.steps(for: 0.5, over: 9, at: 2) == 2)
    #expect(clients.steps(for: 1, over: 0, at: 1) == 0)
    let all = clients.sampled(in: 0)
    clients.advance(past: 0) { client, place in client == all[1] ? 5 : place + 1 }
    #expect(all.map { clients.taken[$0] } == [4, 20, 9])
  }

  /// A client whose gradient is not finite counts for nothing.
  @Test func aClientThatIsNotFiniteIsLeftOut() throws {
    let run = settings("fed-avg:steps=4") { $0.injectNonFinite = "5:0" }
    let found = try train(run)
    #expect(found.evaluation!.loss.isFinite)
    #expect(try train(settings("fed-avg:steps=4")).modelHash != found.modelHash)
  }
}

import Buffers
import Codecs
import Collectives
import Foundation
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Whatever MPI does with all ranks at once begins when all have come, and who has not is named.
@Suite(.serialized, .ranks(atLeast: 2)) struct RollCallTests {
  private let told = Told()
  private var patience: Patience { told.patience(limit: .milliseconds(600)) }
  private let absent = allRanks.count - 1

  /// Runs `body` on all ranks but the absent one, and expects that it names this one.
  private func expectNamed(_ hosts: HostMap?, _ body: () throws -> Void) throws {
    try allRanks.barrier()
    if allRanks.rank != absent {
      var error: ExchangeError?
      do { try body() } catch let found as ExchangeError { error = found }
      let name = hosts?.name(of: absent) ?? "rank \(absent)"
      // A busy machine may keep another rank away for a moment as well.
      #expect(error?.awaited.contains(name) == true && error?.exitStatus == 75, "\(String(describing: error))")
      #expect(told.names.contains { $0.contains(name) }, "\(told.names)")
    }
    try allRanks.barrier()
  }

  @Test func theStartNamesTheMissing() throws {
    // What has been said to the missing rank must not be heard by the next test.
    let own = try allRanks.duplicate()
    try expectNamed(nil) { _ = try HostMap(own, patience: patience) }
  }

  @Test func theSecondCallIsNotTheFirst() throws {
    let call = RollCall(allRanks, patience: Patience())
    for round in 0..<3 {
      if allRanks.rank == round % allRanks.count { usleep(20_000) }
      try call.meet("round \(round)")
    }
  }

  @Test func ranksAtDifferentPlacesAreNoticed() throws {
    let call = RollCall(try allRanks.duplicate(), patience: Patience())
    #expect(throws: ExchangeError.self) { try call.meet(allRanks.rank == 0 ? "breakfast" : "dinner") }
    try allRanks.barrier()
  }

  @Test(
    .ranks(only: 3),
    arguments: ["memory", "records", "exchange", "blocks", "group", "free", "residuals", "letters", "meeting"])
  func whatIsMadeNamesTheMissing(_ what: String) throws {
    let hosts = try HostMap(allRanks.duplicate(), patience: patience)
    let layout = TensorLayout([("vector", [64])])
    let gradient = try SharedGradient(count: 64, hosts: hosts)
    let blocks = try BlockExchange(hosts)
    let slot = BlockSlot(
      "slot", columnCounts: hosts.hostRanks.map { _ in 1 }, outgoing: hosts.hostRanks.map { _ in 0..<1 },
      incoming: hosts.hostRanks.map { _ in 0..<1 })
    try blocks.reserve([slot], sampleCount: 1)
    let exchange = try CodedAllReduce(codecs.make("one-bit"), layout: layout, gradient: gradient)
    let letters = try Letters(hosts, capacity: 64)
    try expectNamed(hosts) {
      switch what {
      case "memory": _ = try SharedGradient(count: 10, hosts: hosts)
      case "records": _ = try RecordExchange(hosts)
      case "exchange": _ = try CodedAllReduce(codecs.make("one-bit"), layout: layout, gradient: gradient)
      case "blocks": _ = try BlockExchange(hosts)
      case "group": _ = try hosts.split(color: 0, key: 0)
      case "free": try blocks.reserve([slot], sampleCount: 2)
      case "residuals": try exchange.place()
      case "letters": _ = try letters.receive(from: absent, activity: "the post")
      default: try hosts.meet("the end")
      }
    }
  }

  /// A rank that stops after all have met is not known, but the others do not wait in silence.
  @Test func aCallThatDoesNotReturnIsTold() throws {
    let hosts = try HostMap(allRanks, patience: told.patience(limit: .seconds(60)))
    try hosts.enter("a long call") {
      if allRanks.rank == absent { usleep(1_000_000) }
      try allRanks.barrier()
    }
    if allRanks.rank != absent { #expect(told.names.contains { $0.contains { $0.contains("all of which had come") } }) }
  }
}

/// Messages between two ranks.
@Suite(.serialized, .ranks(atLeast: 2)) struct LettersTests {
  @Test func wordsAndBytesArriveInOrder() throws {
    let hosts = try HostMap(allRanks, transport: .messages)
    let letters = try Letters(hosts, capacity: 1 << 20)
    let (first, last) = (0, allRanks.count - 1)
    let long = (0..<1 << 17).map { $0 * 7 }
    if allRanks.rank == first {
      for words in [[1, 2, 3], [], long] { try letters.send(words, to: last, activity: "the post") }
      #expect(try letters.receiveWords(from: last, activity: "the post") == [4])
    } else if allRanks.rank == last {
      for words in [[1, 2, 3], [], long] { #expect(try letters.receiveWords(from: first, activity: "the post") == words) }
      try letters.send([4], to: first, activity: "the post")
    }
    try allRanks.barrier()
  }
}

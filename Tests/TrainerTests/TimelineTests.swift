import Buffers
import Collectives
import Foundation
import MPI
import Reporting
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Timelines of whole runs, on as many ranks as the tests have.
@Suite(.serialized) struct TimelineTests {
  /// How a run is done whose timeline is looked at.
  struct Case: Sendable, CustomTestStringConvertible {
    var strategy = "all-reduce"
    var overlap = Overlap.off
    var transport = Transport.auto
    var codec = "one-bit"
    var clip: Double?

    var testDescription: String { "\(strategy) \(overlap) \(transport) \(codec) \(clip.map { "clip \($0)" } ?? "")" }

    static let all = [
      Case(), Case(overlap: .thread), Case(overlap: .inline, transport: .messages),
      Case(strategy: "double-buffer", overlap: .thread, transport: .messages),
      Case(strategy: "double-buffer", overlap: .inline), Case(transport: .messages, codec: "none", clip: 1),
    ]
  }

  private let layoutCount = 16 * 10 + 10 + 24 * 16 + 16 + 784 * 24 + 24

  /// The timeline of a run, read by every rank, and the bytes that its ranks sent to each other by exchanges.
  private func timeline(_ options: TrainerOptions) throws -> (trace: TraceReader, outcome: TrainingOutcome, end: [String: Any])
  {
    let directory = try TemporaryDirectory(on: world)
    var options = options
    options.timeline = directory.path + "/timeline.json"
    options.metrics = directory.path + "/metrics.jsonl"
    let outcome = try train(options)
    try world.barrier()
    let trace = try TraceReader(options.timeline!)
    let lines = try String(contentsOfFile: options.metrics!, encoding: .utf8).split(separator: "\n")
    let end = try #require(JSONSerialization.jsonObject(with: Data(lines[lines.count - 1].utf8)) as? [String: Any])
    #expect(try directory.names() == ["metrics.jsonl", "timeline.json"])
    return (trace, outcome, end)
  }

  @Test(.ranks(atMost: 4), arguments: Case.all) func eventsNestAndCoverEveryExchange(_ way: Case) throws {
    let (ranks, steps) = (world.count, 20)
    let options = options {
      $0.strategy = way.strategy
      $0.overlap = way.overlap
      $0.transport = way.transport
      $0.codec = way.codec
      $0.clip = way.clip
      // The metrics' bytes are those after the warm start.
      $0.warmStart = way.transport == .messages ? 0 : 3
      $0.evaluateEvery = 10
      $0.verifyEvery = 5
    }
    let (trace, outcome, end) = try timeline(options)
    // Nobody's result depends on being watched.
    #expect(try train(options) == outcome)
    #expect(trace.events.first?["name"] as? String == "start" && trace.events.last?["name"] as? String == "end")
    for thread in trace.spans.keys {
      let overlap = trace.overlap(in: thread)
      #expect(overlap == nil, "\(thread): \(String(describing: overlap))")
    }
    #expect(Set(trace.spans.keys.map(\.process)) == Set(0..<ranks))
    let usesThread = way.overlap == .thread && ranks > 1
    #expect(Set(trace.spans.keys.map(\.thread)) == (usesThread ? [0, 1] : [0]))

    let halves = way.strategy == "double-buffer" ? 2 : 1
    let exchanges = steps * halves
    // Floats that are read where they lie are not encoded.
    let encoded = ranks == 1 ? 0 : way.transport == .messages && way.codec == "none" ? exchanges : (steps - 3) * halves
    let sums = ranks == 1 ? 0 : exchanges
    var summed = Array(repeating: 0, count: layoutCount)
    for rank in 0..<ranks {
      let encodes = try TraceReader.coverage(of: trace.spans("encode", of: rank), count: layoutCount)
      if way.transport == .auto {
        #expect(Set(encodes) == [encoded], "rank \(rank)")
      } else if ranks > 1 {
        // The own shard of floats is read in place.
        #expect(Set(encodes).isSubset(of: way.codec == "none" ? [0, exchanges] : [exchanges]), "rank \(rank)")
      }
      let decodes = trace.spans("decode", of: rank)
      #expect(Set(try TraceReader.coverage(of: decodes, count: layoutCount)) == [exchanges], "rank \(rank)")
      // What a thread has decoded meanwhile is applied afterwards, once.
      let updates = trace.spans("update", of: rank).filter { $0.name != "update" }
      #expect(try TraceReader.coverage(of: updates, count: layoutCount).allSatisfy { $0 <= exchanges })
      #expect(way.overlap == .thread || updates.isEmpty)
      for (index, count) in try TraceReader.coverage(of: trace.spans("sum", of: rank), count: layoutCount).enumerated() {
        summed[index] += count
      }
      #expect(trace.spans("step", of: rank).map(\.name) == (1...steps).map { "step \($0)" })
      #expect(trace.spans("agreement", of: rank).count == exchanges)
      #expect(trace.spans("evaluation", of: rank).count == 2)
      #expect(trace.spans("verification", of: rank).count >= steps / 5)
      for tensor in [
        "layers.3.weight", "layers.3.bias", "layers.2.weight", "layers.2.bias", "layers.1.weight", "layers.1.bias",
      ] {
        #expect(trace.spans("compute", of: rank).count { $0.name == "backward " + tensor } == exchanges)
      }
      #expect(trace.spans("compute", of: rank).count { $0.name == "forward layer 3" } <= exchanges)
    }
    #expect(Set(summed) == [sums])
    if way.transport == .messages { try checkBytes(trace, end) }
  }

  /// What was sent in the timeline is what the ledger counted.
  private func checkBytes(_ trace: TraceReader, _ end: [String: Any]) throws {
    let wire = try #require(end["wire"] as? [String: Any])
    let sent = try #require(wire["bytesSent"] as? [Int])
    let inside = try #require(wire["insideHost"] as? [Int])
    for rank in 0..<world.count {
      let bytes = trace.spans("send", of: rank).reduce(0) { $0 + ($1.arguments["bytes"] as? Int ?? 0) }
      #expect(bytes == sent[rank] - inside[rank], "rank \(rank)")
    }
  }

  /// Models in slices wait for one another's activations in the middle of a pass.
  @Test(.ranks(atLeast: 2)) func slicesOfModelsAreSeen() throws {
    guard world.count % 2 == 0 else { return }
    for overlap in [Overlap.off, .thread] {
      let (trace, _, _) = try timeline(
        options {
          $0.modelParallel = 2
          $0.overlap = overlap
          $0.transport = .messages
        })
      for thread in trace.spans.keys { #expect(trace.overlap(in: thread) == nil, "\(thread)") }
      for rank in 0..<world.count { #expect(trace.spans("step", of: rank).count == 20) }
      #expect((0..<world.count).contains { trace.spans("wait", of: $0).contains { $0.name == "wait for activations" } })
    }
  }

  @Test func checkpointsAreSeenAndResumedRunsGoOn() throws {
    let directory = try TemporaryDirectory(on: world)
    let timeline = directory.path + "/timeline.json"
    let outcome = try trainBrokenOff(after: 13, options { $0.timeline = timeline })
    #expect(outcome.steps == 20)
    let trace = try TraceReader(timeline)
    #expect(try directory.names() == ["timeline.json"])
    let instants = trace.events.filter { $0["ph"] as? String == "i" }
    #expect(instants.map { $0["name"] as? String } == ["start", "resumed", "end"])
    for rank in 0..<world.count {
      let steps = trace.spans("step", of: rank)
      // The first job is broken off in the step after its checkpoint.
      #expect(steps.map(\.name) == (Array(1...14) + Array(14...20)).map { "step \($0)" })
      #expect(zip(steps, steps.dropFirst()).allSatisfy { $0.end <= $1.start })
      #expect(trace.spans("checkpoint", of: rank).count >= 3)
    }
  }

  /// One host whose ranks pretend to be on several, with clocks a quarter of an hour apart.
  @Test(.ranks(atLeast: 2)) func hostsWriteApartAndAreJoined() throws {
    let directory = try TemporaryDirectory(on: world)
    let path = directory.path + "/timeline.json"
    let hostCount = min(world.count, 3)
    let host = world.rank % hostCount
    let hosts = try HostMap(world, pretendedHost: host)
    var layout = TensorLayout()
    layout.append("a \"b\"", shape: [3])
    layout.append("c", shape: [4])
    let timeline = try Timeline(path, of: hosts, layout: layout, skew: host * 900_000_000_000)
    var event = ExchangeEvent(kind: .encode, elements: 1..<5, start: .now, end: .now)
    timeline.note(event)
    try world.barrier()
    event = ExchangeEvent(kind: .wait, elements: 0..<0, start: .now, end: .now)
    timeline.note(event)
    let parts = (1..<hostCount).map { "timeline.json.host\($0)" }
    #expect(try directory.names() == ["timeline.json"] + parts)
    let (text, isWarning) = try timeline.finish()
    #expect(!isWarning && text.contains(path))
    try world.barrier()
    let trace = try TraceReader(path)
    #expect(try directory.names() == ["timeline.json"])
    for rank in 0..<world.count {
      #expect(trace.spans("encode", of: rank).map(\.name) == ["encode a \"b\" to c"])
      let wait = try #require(trace.spans("wait", of: rank).first)
      #expect(abs(wait.start) < 400_000_000_000, "rank \(rank)")
      let metadata = trace.events.filter { $0["pid"] as? Int == rank && $0["ph"] as? String == "M" }
      let names = metadata.filter { $0["name"] as? String == "process_name" }.compactMap { $0["args"] as? [String: String] }
      #expect(names == [["name": "rank \(rank) on host\(rank % hostCount)"]])
    }
  }
}

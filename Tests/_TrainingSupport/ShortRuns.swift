import Buffers
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport

/// The options of a run of 20 steps of a small model, which takes a tenth of a second.
func options(_ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
  var options = TrainerOptions()
  options.model = "mlp:24,16"
  options.data = "glyphs:train=330,test=70"
  options.minibatch = 50
  options.steps = 20
  options.warmStart = 0
  options.verifyEvery = 1
  options.logEvery = 7
  options.quiet = true
  change(&options)
  return options
}

/// The strategy `name` with meetings after each `steps` steps, if its ranks take several alone.
func specification(of name: String, meetingEvery steps: Int) -> String {
  ((try? strategies.make(name))?.schedule.stepsPerExchange ?? 1) > 1 ? "\(name):steps=\(steps)" : name
}

/// A whole run, or one that stops after `lastStep`; collective.
///
/// With `host`, this rank pretends to be on that host.
func train(_ options: TrainerOptions, until lastStep: Int? = nil, host: Int? = nil) throws -> TrainingOutcome {
  let trainer = try TrainingRun(options, on: world, isSilent: true, pretendedHost: host)
  trainer.lastStep = lastStep
  return try trainer.run()
}

/// A run that is broken off after `steps` steps, as if killed a step after its checkpoint, and then resumed to its end; collective.
///
/// That the second job resumed from that step is expected of its own words. Ranks meet every `period` steps, of which `steps`
/// is a multiple.
func trainBrokenOff(
  after steps: Int, _ options: TrainerOptions, hosts: (Int?, Int?) = (nil, nil), period: Int = 1,
  at place: SourceLocation = #_sourceLocation
) throws -> TrainingOutcome {
  try brokenOff(after: steps, options, hosts: hosts, period: period, at: place).outcome
}

/// As ``trainBrokenOff(after:_:hosts:period:at:)``, with what both jobs tell of the steps up to the checkpoint and of those
/// after it, times removed.
///
/// The first job evaluates and saves after `steps` steps; with `isStopped` it is asked to stop there instead, and saves alone. On the
/// hosts `hosts.0` this rank is in the first job, on `hosts.1` in the second.
func brokenOff(
  after steps: Int, _ options: TrainerOptions, isStopped: Bool = false, hosts: (Int?, Int?) = (nil, nil), period: Int = 1,
  at place: SourceLocation = #_sourceLocation
) throws -> (outcome: TrainingOutcome, lines: [[String: Any]]) {
  let directory = try TemporaryDirectory(on: world)
  var options = options
  let (checkpoints, path) = (directory.path + "/checkpoints", directory.path + "/metrics.jsonl")
  (options.checkpoint, options.metrics) = (checkpoints, path)
  if !isStopped { options.checkpointEvery = steps }
  let first = try train(options, until: isStopped ? steps : steps + 1, host: hosts.0)
  #expect(first.steps == (isStopped ? steps : steps + period), "the first job has not come so far", sourceLocation: place)
  let name = String(format: "step-%08d", steps)
  try directory.change {
    for later in try FileManager.default.contentsOfDirectory(atPath: checkpoints) where later > name {
      try FileManager.default.removeItem(atPath: "\(checkpoints)/\(later)")
    }
  }
  #expect(try directory.names(in: "checkpoints") == [name], sourceLocation: place)
  let before = try metricsLines(path)
  (options.resume, options.checkpointEvery) = (true, nil)
  let outcome = try train(options, host: hosts.1)
  try world.barrier()
  let after = Array(try metricsLines(path).dropFirst(before.count))
  // Here it would show that a run began again.
  let start = try #require(after.first { $0["event"] as? String == "start" }, sourceLocation: place)
  #expect(start["resumedStep"] as? Int == steps, "\(start)", sourceLocation: place)
  #expect(start["resumedFrom"] as? String == "\(checkpoints)/\(name)", sourceLocation: place)
  #expect(
    after.allSatisfy { ($0["step"] as? Int ?? .max) > steps || $0["event"] as? String == "tuning" }, sourceLocation: place)
  let end = before.firstIndex { $0["event"] as? String == "checkpoint" && $0["step"] as? Int == steps }
  try world.barrier()
  return (outcome, Array(before.prefix(end ?? 0)) + after)
}

/// The lines of a metrics file, times removed.
func metricsLines(_ path: String) throws -> [[String: Any]] {
  try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map {
    var line = try #require(JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    line["seconds"] = nil
    return line
  }
}

/// Trains, and gives the lines of the metrics file on every rank, times removed; collective.
func metrics(_ options: TrainerOptions) throws -> (outcome: TrainingOutcome, lines: [[String: Any]]) {
  let directory = try TemporaryDirectory(on: world)
  var options = options
  options.metrics = directory.path + "/metrics.jsonl"
  let outcome = try train(options)
  try world.barrier()
  let lines = try metricsLines(options.metrics!)
  try world.barrier()
  return (outcome, lines)
}

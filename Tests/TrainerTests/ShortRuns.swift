import Foundation
import MPI
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

/// A whole run; collective.
func train(_ options: TrainerOptions) throws -> TrainingOutcome {
  try Trainer(options, on: world, isSilent: true).run()
}

/// A run that is broken off after `steps` steps, as if killed right after its checkpoint, and then resumed to its end; collective.
func trainBrokenOff(after steps: Int, _ options: TrainerOptions) throws -> TrainingOutcome {
  let directory = try TemporaryDirectory(on: world)
  var options = options
  options.checkpoint = directory.path + "/checkpoints"
  options.checkpointEvery = steps
  _ = try train(options)
  let last = String(format: "step-%08d", steps)
  try directory.change {
    for name in try FileManager.default.contentsOfDirectory(atPath: options.checkpoint!) where name > last {
      try FileManager.default.removeItem(atPath: "\(options.checkpoint!)/\(name)")
    }
  }
  options.resume = true
  let outcome = try train(options)
  // The directory goes with rank 0's object.
  try world.barrier()
  return outcome
}

/// Trains, and gives the lines of the metrics file on every rank, times removed; collective.
func metrics(_ options: TrainerOptions) throws -> (outcome: TrainingOutcome, lines: [[String: Any]]) {
  let directory = try TemporaryDirectory(on: world)
  var options = options
  options.metrics = directory.path + "/metrics.jsonl"
  let outcome = try train(options)
  try world.barrier()
  let lines = try String(contentsOfFile: options.metrics!, encoding: .utf8).split(separator: "\n").map {
    var line = try #require(JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    line["seconds"] = nil
    return line
  }
  try world.barrier()
  return (outcome, lines)
}

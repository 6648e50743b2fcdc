import ArgumentParser
import Buffers
import Files
import MPI
import Strategies
import Trainer

extension Train {
  /// Evaluates a saved model.
  struct Evaluate: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print a saved model's loss and accuracy on the test samples.",
      discussion: "Under mpirun the ranks share the samples. The newest complete checkpoint is read.")

    @Option(help: ArgumentHelp("The directory of checkpoints, or one checkpoint in it.", valueName: "dir"))
    var checkpoint: String
    @Option(help: ArgumentHelp("The data; those of the run by default.", valueName: "spec"))
    var data: String?
    @Option(
      parsing: .unconditional, help: ArgumentHelp("The seed of drawn data; that of the run by default.", valueName: "n"))
    var seed: String?

    @Option(
      help: ArgumentHelp(
        "Write the log posteriors of all test samples, too, as an array for NumPy; on one rank.", valueName: "file"))
    var posteriors: String?

    func run() throws {
      if let data { try Launch.check(data: data) }
      var options = TrainerOptions()
      if let seed { try options.set("seed", to: seed) }
      let chosenSeed = seed == nil ? nil : options.seed
      Launch.run { world in
        let saved = try SavedModel(checkpoint, data: data, seed: chosenSeed, on: world)
        let result = try saved.evaluate()
        if let posteriors {
          let array = try saved.logPosteriors()
          try FileDestination(posteriors).write(
            array.header, UnsafeRawBufferPointer(array.values.values(in: 0..<array.values.count)))
        }
        return world.rank == 0 ? Launch.tell(saved.sentence(for: result)) : 0
      }
    }
  }
}

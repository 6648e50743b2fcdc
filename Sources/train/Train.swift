import ArgumentParser
import Files
import Strategies

/// The command line of training.
///
/// What it does is in the module `Trainer`.
@main
struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Trains neural networks data-parallel over MPI, with gradients of one bit per value.",
    discussion: """
      Every rank computes the gradient of its share of a minibatch; the ranks exchange the gradients, by default as one bit per \
      value with what was rounded away kept for the next step, and all make the same update. Without mpirun, one rank does plain \
      gradient descent.

        train                                            built-in data, one rank
        mpirun -np 8 train                               the same samples on eight ranks
        mpirun -np 8 train --codec none                  gradients as floats, to compare
        train --data idx:DIR --model mlp:512,512         images such as MNIST's four IDX files
        mpirun --hostfile HOSTS -np 64 train --config run.yaml --checkpoint DIR --checkpoint-every 500
        mpirun --hostfile HOSTS -np 64 train --config run.yaml --checkpoint DIR --resume
        train evaluate --checkpoint DIR --data idx:DIR   a saved model's loss and accuracy
        train sample --checkpoint DIR --prompt TEXT      text by a saved transformer
        train describe --model SPEC --data SPEC          a model's layers, and the bytes of a step
        train list                                       the choices for SPEC

      A SPEC is a name, or a name, a colon and comma-separated values, then key=value pairs: mlp:2048,2048,activation=sigmoid. \
      A configuration file is YAML whose keys are the names of options; the command line wins over it. A file may be a pipe; - is \
      standard output, or for --config standard input.

      Exit status: 0 done; 64 wrong usage; 65 bad data or configuration; 70 internal; 74 input or output; 75 a rank failed or \
      the job was asked to stop, and can be resumed.
      """,
    version: "Morse 0.1.0",
    subcommands: [Run.self, Plan.self, Evaluate.self, Sample.self, Describe.self, List.self],
    defaultSubcommand: Run.self)

  static func main() {
    StandardStreams.openClosed()
    do {
      if let fault = StandardStreams.argumentFault { throw OptionError(fault) }
      var command = try parseAsRoot()
      try command.run()
    } catch {
      Launch.end(with: error)
    }
  }
}

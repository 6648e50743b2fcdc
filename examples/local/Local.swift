import ArgumentParser
import Laboratory

/// Training with few or near messages: who exchanges with whom, how often, and what ranks need not send; README.md says what differs from
/// the papers.
@main
struct Local: Example {
  static let shortName = "local"
  static let configuration = CommandConfiguration(
    commandName: "example-local",
    abstract: "Training with few exchanges, or near ones: local steps, gossip over graphs, lazy uploads.",
    discussion: """
      Run it in the package's folder. Results are kept by command line, so that a table that was stopped goes on where it was.

        swift build -c release
        .build/release/example-local gossip --data idx:DIR
      """,
    subcommands: [
      Accuracy.self, Time.self, Averaging.self, Clients.self, Gossip.self, Lazy.self, LazyRun.self, Check.self,
    ])
}

/// The options that all tables share.
struct Setting: ParsableArguments {
  @Option(help: ArgumentHelp("The data: the folder of MNIST's four files.", valueName: "spec")) var data =
    "idx:../shared/data/mnist"
  @Option(help: ArgumentHelp("How many seeds a figure is the mean of.", valueName: "n")) var seeds = 3

  func validate() throws {
    if seeds < 1 { throw ValidationError("--seeds is at least 1, not \(seeds)") }
  }

  /// The runs of a row, one for each seed, on one rank.
  ///
  /// - Parameters:
  ///   - name: Its name in the progress.
  ///   - minibatch: The samples of a step over all workers.
  ///   - samples: The samples of the run.
  ///   - options: Strategy, model, learning rate and others.
  func jobs(_ name: String, minibatch: Int, samples: Int, _ options: [String]) -> [Job] {
    (1...seeds).map { seed in
      Job(
        name: "\(name), seed \(seed)", program: "train", ranks: 1,
        arguments: [
          "--data", data, "--minibatch", String(minibatch), "--steps", String((samples - 1) / minibatch + 1),
          "--verify-every", "0", "--seed", String(seed), "--momentum", "0",
        ] + options)
    }
  }
}

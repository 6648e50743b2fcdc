import ArgumentParser
import Laboratory

/// What delay does to asynchronous descent, and what compensates it, in emulated time; README.md says what differs from the papers.
@main
struct DelayCompensation: Example {
  static let shortName = "dc-asgd"
  static let configuration = CommandConfiguration(
    commandName: "example-dc-asgd",
    abstract: "Asynchronous descent, its delay and what compensates it (Zheng et al. 2017; Ho et al. 2013), in emulated time.",
    discussion: """
      Run it in the package's folder. Results are kept by command line, so that a table that was stopped goes on where it was.

        swift build -c release
        .build/release/example-dc-asgd delay --data idx:DIR
      """,
    subcommands: [Delay.self, Edge.self, Bounds.self, Elastic.self, Pairs.self, Live.self, Paper.self, Check.self])
}

/// The options that all tables share.
struct Setting: ParsableArguments {
  @Option(help: ArgumentHelp("The data: the folder of MNIST's four files.", valueName: "spec")) var data =
    "idx:../shared/data/mnist"
  @Option(help: ArgumentHelp("How many seeds a figure is the mean of.", valueName: "n")) var seeds = 4

  func validate() throws {
    if seeds < 1 { throw ValidationError("--seeds is at least 1, not \(seeds)") }
  }

  /// The runs of a row, one for each seed, on one rank that is all workers.
  ///
  /// - Parameters:
  ///   - name: Its name in the progress.
  ///   - strategy: The strategy with its keys, without the number of workers; nil for one worker.
  ///   - workers: The number of workers.
  ///   - perWorker: The samples of a worker's minibatch.
  ///   - samples: The samples of the run.
  ///   - speed: The order of the workers.
  ///   - momentum: The momentum; nil if the strategy has its own.
  ///   - codec: The codec.
  ///   - options: Model, learning rate and others.
  func jobs(
    _ name: String, _ strategy: String?, workers: Int, perWorker: Int, samples: Int, speed: String = "rr",
    momentum: String? = "0", codec: String = "none", _ options: [String]
  ) -> [Job] {
    let minibatch = strategy == nil ? perWorker : workers * perWorker
    let asynchronous = strategy.map { strategy in
      ["--strategy", "\(strategy)\(strategy.contains(":") ? "," : ":")workers=\(workers)", "--emulate-speed", speed]
    }
    return (1...seeds).map { seed in
      Job(
        name: "\(name), seed \(seed)", program: "train", ranks: 1,
        arguments: [
          "--data", data, "--minibatch", String(minibatch), "--steps", String((samples - 1) / minibatch + 1), "--codec",
          codec, "--warm-start", "0", "--verify-every", "0", "--seed", String(seed),
        ] + (momentum.map { ["--momentum", $0] } ?? []) + (asynchronous ?? []) + options)
    }
  }
}

/// Test accuracy in percent and test loss of a row.
struct Figures {
  let accuracy: Sample
  let loss: Sample

  init(_ reports: some Sequence<Report>) throws {
    let reports = Array(reports)
    accuracy = Sample(values: try reports.map { try 100 * $0.number("testAccuracy") })
    // The loss of a model that has diverged is not a number.
    loss = Sample(values: reports.map { (try? $0.number("testLoss")) ?? 99 })
  }
}

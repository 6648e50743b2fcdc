import ArgumentParser
import Collectives
import MPI
import Planner
import Reporting
import Trainer
import Transport

extension Train {
  /// Trains.
  struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Train (what happens without a subcommand).",
      discussion:
        "What was not said has its default, and the summary at the start prints it. `train list` prints what SPEC may be.")

    @Option(help: ArgumentHelp("A YAML file of options by their names; the command line wins.", valueName: "file"))
    var config: String?

    @OptionGroup(title: "What to train") var subject: Subject
    @OptionGroup(title: "How to train") var descent: Descent
    @OptionGroup(title: "How ranks exchange") var exchange: Exchange
    @OptionGroup(title: "Checkpoints and results") var files: Files
    @OptionGroup(title: "What is told") var telling: Telling

    /// The options that were said, in the order of help.
    private var said: [(name: String, text: String)] {
      let all = subject.said + descent.said + exchange.said + files.said + telling.said
      return all.compactMap { name, text in text.map { (name, $0) } }
    }

    func run() throws {
      try Launch.checkConfiguration(config)
      let options = try TrainerOptions(configuration: config, commandLine: said)
      try options.validate(config: config)
      _ = try Recipe(options)
      // Lives as long as the process: messages that a lost peer leaves under way need their memory to the end.
      var trainer: TrainingRun?
      Launch.run(options.waiting()) { world in
        StopSignal.install()
        return try Launch.tellingWayOn(options.checkpoint) {
          Launch.tellHowToResume(
            rank: world.rank, checkpoint: options.checkpoint,
            neighbours: try Neighbours(world, patience: options.waiting()))
          trainer = try TrainingRun(options, on: world, choosingCodecBy: measuredCodec)
          return try trainer!.run().exitStatus
        }
      }
    }
  }
}

/// What is trained, and how long.
struct Subject: ParsableArguments {
  @Option(help: ArgumentHelp("The model. (default: mlp:512,512)", valueName: "spec")) var model: String?
  @Option(help: ArgumentHelp("The data. (default: glyphs)", valueName: "spec")) var data: String?
  @Option(
    help: ArgumentHelp(
      "How training samples are dealt to clients: iid, by-class:N or dirichlet:ALPHA. (default: iid)", valueName: "spec"))
  var partition: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Clients that hold the training samples. (default: one for each rank)", valueName: "n"))
  var clients: String?
  @Option(
    parsing: .unconditional, help: ArgumentHelp("Clients that share a step. (default: as many as ranks)", valueName: "n"))
  var sampled: String?
  @Option(parsing: .unconditional, help: ArgumentHelp("How often every sample is used. (default: 5)", valueName: "n"))
  var epochs: String?
  @Option(parsing: .unconditional, help: ArgumentHelp("The length in steps; wins over --epochs.", valueName: "n"))
  var steps: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Samples per step over all ranks, at least one per rank. (default: 256)", valueName: "n"))
  var minibatch: String?
  @Option(parsing: .unconditional, help: ArgumentHelp("What everything random follows from. (default: 1)", valueName: "n"))
  var seed: String?
  @Option(parsing: .unconditional, help: ArgumentHelp("Threads of matrix products per rank. (default: 1)", valueName: "n"))
  var threads: String?

  var said: [(String, String?)] {
    [
      ("model", model), ("data", data), ("partition", partition), ("clients", clients), ("sampled", sampled),
      ("epochs", epochs), ("steps", steps), ("minibatch", minibatch), ("seed", seed),
      ("threads", threads),
    ]
  }
}

/// How gradients become updates.
struct Descent: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "How a gradient becomes an update: sgd or adagrad, whose keys 'train list' shows. (default: sgd)", valueName: "spec"))
  var optimizer: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The rate, for the mean gradient of a minibatch. (default: 0.1)", valueName: "x"))
  var learningRate: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The share ρ of the direction that stays: u ← ρu + g, w ← w − ηu. (default: 0.9)", valueName: "x"))
  var momentum: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Adds this times the parameters to the gradient. (default: 0)", valueName: "x"))
  var weightDecay: String?
  @Option(
    parsing: .unconditional, help: ArgumentHelp("The largest norm of the aggregated gradient; none by default.", valueName: "x")
  )
  var clip: String?
  @Option(help: ArgumentHelp("How the rate changes over the run. (default: cosine)", valueName: "spec")) var schedule: String?
  @Option(
    help: ArgumentHelp(
      "How the minibatch is found while training, between epochs; it stays by default.", valueName: "spec"))
  var tuneMinibatch: String?
  @Option(
    help: ArgumentHelp(
      "How the rate follows how training goes, between epochs; by default it follows its schedule alone.", valueName: "spec"))
  var tuneRate: String?
  @Option(
    help: ArgumentHelp(
      "A step whose gradient is not finite: skip, abort or zero; ten skipped in a row end the run. (default: skip)",
      valueName: "policy"))
  var nonFinite: String?
  @Option(
    help: ArgumentHelp(
      "Epochs after which the model aligns the labels of speech anew: 2, or 1,3, or every:2; never by default.",
      valueName: "epochs")
  )
  var realign: String?
  @Option(help: .hidden) var injectNonFinite: String?
  @Option(help: .hidden) var injectFault: String?
  @Option(parsing: .unconditional, help: .hidden) var pretendHosts: String?

  var said: [(String, String?)] {
    [
      ("optimizer", optimizer), ("learning-rate", learningRate), ("momentum", momentum), ("weight-decay", weightDecay),
      ("clip", clip), ("schedule", schedule), ("tune-minibatch", tuneMinibatch), ("tune-rate", tuneRate),
      ("non-finite", nonFinite), ("realign", realign), ("inject-non-finite", injectNonFinite),
      ("inject-fault", injectFault), ("pretend-hosts", pretendHosts),
    ]
  }
}

/// How gradients cross between ranks.
struct Exchange: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "How gradients are encoded; auto: as the ranks measure to be fastest. (default: one-bit)", valueName: "spec")) var codec:
    String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      The start: N steps of floats (a tenth of the run by default); replicated:N, every rank does it all; bits:32xN+8xN+2xN, fewer and \
      fewer bits; auto, floats until the gradient is four fifths noise, a quarter of the run at most.
      """,
      valueName: "start"))
  var warmStart: String?
  @Option(help: ArgumentHelp("How ranks work together. (default: all-reduce)", valueName: "spec")) var strategy: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Ranks that a model is split over, by the output units of its layers; K models on K times as many ranks. (default: 1)",
      valueName: "n"))
  var modelParallel: String?
  @Option(
    help: ArgumentHelp(
      "Who carries an exchange on while the model computes: thread, inline (between layers), off, or auto, which is off inside one host. (default: auto)",
      valueName: "who"))
  var overlap: String?
  @Option(
    help: ArgumentHelp(
      "flat, or hierarchical: the ranks of a host add up before one of them encodes; auto: hierarchical where several hosts have several ranks. (default: auto)",
      valueName: "topology"))
  var topology: String?
  @Option(
    help: ArgumentHelp(
      "auto: shared memory inside a host; messages: messages everywhere. (default: auto)", valueName: "transport"))
  var transport: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Seconds without progress after which the run names who is awaited and ends. (default: 60)", valueName: "s"))
  var timeout: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Seconds without progress after which a warning names who is awaited. (default: 10)", valueName: "s"))
  var patience: String?

  var said: [(String, String?)] {
    [
      ("codec", codec), ("warm-start", warmStart), ("strategy", strategy), ("model-parallel", modelParallel),
      ("overlap", overlap), ("topology", topology), ("transport", transport), ("timeout", timeout), ("patience", patience),
    ]
  }
}

/// What is saved.
struct Files: ParsableArguments {
  @Option(help: ArgumentHelp("The directory of checkpoints, which all hosts share; none by default.", valueName: "dir"))
  var checkpoint: String?
  @Option(
    parsing: .unconditional, help: ArgumentHelp("Steps between checkpoints; one more is written at the end.", valueName: "n"))
  var checkpointEvery: String?
  @Flag(help: "Go on from the newest checkpoint that is whole.") var resume = false
  @Option(help: ArgumentHelp("The final model, as safetensors.", valueName: "file")) var output: String?

  var said: [(String, String?)] {
    [
      ("checkpoint", checkpoint), ("checkpoint-every", checkpointEvery), ("resume", resume ? "true" : nil), ("output", output),
    ]
  }
}

/// What is told, and how often.
struct Telling: ParsableArguments {
  @Option(help: ArgumentHelp("The run's course as JSON lines.", valueName: "file")) var metrics: String?
  @Option(
    help: ArgumentHelp(
      "What each rank does, and when, as Chrome trace events for ui.perfetto.dev; a run that is killed keeps them.",
      valueName: "file"))
  var timeline: String?
  @Option(parsing: .unconditional, help: ArgumentHelp("Steps between logged steps. (default: 10)", valueName: "n"))
  var logEvery: String?
  @Option(
    parsing: .unconditional, help: ArgumentHelp("Steps between evaluations; an epoch by default.", valueName: "n"))
  var evaluateEvery: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Steps between checks that all ranks hold the same model; 0 for never. (default: 100)", valueName: "n"))
  var verifyEvery: String?
  @Flag(help: "No progress; summaries and warnings stay.") var quiet = false

  var said: [(String, String?)] {
    [
      ("metrics", metrics), ("timeline", timeline), ("log-every", logEvery), ("evaluate-every", evaluateEvery),
      ("verify-every", verifyEvery),
      ("quiet", quiet ? "true" : nil),
    ]
  }
}

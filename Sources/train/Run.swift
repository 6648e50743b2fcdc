import ArgumentParser
import Collectives
import MPI
import Planner
import Reporting
import Strategies
import Trainer
import Transport

extension Train {
  /// Trains a model.
  struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Train (the default subcommand).",
      discussion:
        "Options that are not given take their defaults; the summary at the start prints all. `train list` prints the choices for SPEC."
    )

    @Option(help: ArgumentHelp("A YAML file of options by their names; the command line overrides it.", valueName: "file"))
    var config: String?

    @OptionGroup(title: SubjectOptions.title) var subject: TableOptions<SubjectOptions>
    @OptionGroup(title: DescentOptions.title) var descent: TableOptions<DescentOptions>
    @OptionGroup(title: ExchangeOptions.title) var exchange: TableOptions<ExchangeOptions>
    @OptionGroup(title: FileOptions.title) var files: TableOptions<FileOptions>
    @OptionGroup(title: ReportOptions.title) var reports: TableOptions<ReportOptions>

    /// The options that were given, in the order of help.
    private var given: [(name: String, text: String)] {
      subject.given + descent.given + exchange.given + files.given + reports.given
    }

    func run() throws {
      try Launch.checkConfiguration(config)
      let options = try TrainerOptions(configuration: config, commandLine: given)
      try options.validate(config: config)
      _ = try Recipe(options)
      // It lives as long as the process: messages left pending by a lost peer need their memory to the end.
      var trainer: TrainingRun?
      Launch.run(options.waiting()) { world in
        StopSignal.install()
        return try Launch.tellingWayOn(options.checkpoint, rank: world.rank) {
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

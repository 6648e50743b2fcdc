import ArgumentParser
import Buffers
import Checkpoints
import Datasets
import Files
import MPI
import Planner
import Strategies
import Trainer

extension Train {
  /// Describes a model.
  struct Describe: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print a model's layers and tensors, and the bytes that a step sends.",
      discussion: """
        The samples are those of --data, or have the form that --inputs and --classes give:

          train describe --model cnn --inputs 28x28x1 --classes 10
          train describe --model transformer --inputs text:128 --classes 65
          train describe --model mlp:512 --inputs 440 --classes 183 --codec one-bit
        """)

    @Option(help: ArgumentHelp("The model.", valueName: "spec")) var model = TrainerOptions().model
    @Option(help: ArgumentHelp("The data, whose samples the model reads.", valueName: "spec")) var data: String?
    @Option(
      parsing: .unconditional,
      help: ArgumentHelp(
        "A sample in place of --data: a number of values, height x width x channels of an image, or text:N for N tokens.",
        valueName: "form"))
    var inputs: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("The number of classes, with --inputs.", valueName: "n"))
    var classes: String?
    @Option(
      parsing: .singleValue,
      help: ArgumentHelp(
        "A codec whose bytes are shown; may be repeated. (default: \(ModelTable.usualCodecs.joined(separator: ", ")))",
        valueName: "spec"))
    var codec: [String] = []

    /// The names of the options allowed after `--`.
    static let optionNames = ["model", "data", "inputs", "classes", "codec", "help"]

    func run() throws {
      guard Launcher.rank == 0 else { return }
      var options = TrainerOptions()
      options.model = model
      if let data { options.data = data }
      let recipe = try Recipe(options)
      let form = try givenForm()
      let name = inputs.map { "samples of \($0)" } ?? options.data
      let table: ModelTable
      do {
        table = try ModelTable(
          recipe, model: model, form: form ?? recipe.dataset(options.seed).form, of: name,
          codecs: codec.isEmpty ? ModelTable.usualCodecs : codec)
      } catch  where exitStatus(of: error) == nil {
        throw TrainingError("\(error)", exitStatus: .configuration)
      }
      try StandardStreams.write(table.text + "\n")
    }

    /// The form of samples that --inputs and --classes give; nil if they are not given.
    private func givenForm() throws(OptionError) -> SampleForm? {
      guard let inputs else {
        if classes != nil { throw OptionError("--classes goes with --inputs; --data says how many classes it has") }
        return nil
      }
      guard data == nil else { throw OptionError("--inputs takes the place of --data; leave one of them out") }
      guard let classes else { throw OptionError("--inputs needs --classes, the number of classes") }
      guard let classCount = Int(classes), (1...1 << 24).contains(classCount) else {
        throw OptionError("--classes is a whole number of 1 to \(1 << 24), not '\(classes)'")
      }
      do { return try SampleForm(inputs, classCount: classCount, option: "--inputs") } catch { throw OptionError("\(error)") }
    }
  }
}

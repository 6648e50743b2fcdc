import ArgumentParser
import Laboratory

/// Every code on the wire, under one trainer: how good a model is after the same samples, and the bits that were counted; RESULTS.md has the
/// tables.
@main
struct Codecs: Example {
  static let shortName = "codecs"
  static let configuration = CommandConfiguration(
    commandName: "example-codecs",
    abstract: "Accuracy against counted bits for all codes, on images, speech and characters.",
    discussion: """
      Run it in the package's folder. Results are kept by command line, so that a table that was stopped goes on where it was.

        swift build -c release
        .build/release/example-codecs images --data idx:DIR --svg images.svg
      """,
    subcommands: [Images.self, Speech.self, Characters.self, Check.self])
}

/// The options that all tables share.
struct Setting: ParsableArguments {
  @Option(help: ArgumentHelp("The number of ranks.", valueName: "n")) var ranks = 8
  @Option(help: ArgumentHelp("How many seeds a figure is the mean of.", valueName: "n")) var seeds = 3
  @Option(help: ArgumentHelp("Only these codes; may be repeated.", valueName: "spec")) var codec: [String] = []
  @Option(help: ArgumentHelp("Write the result against bits as a picture.", valueName: "file")) var svg: String?

  func validate() throws {
    if ranks < 2 { throw ValidationError("--ranks is at least 2, not \(ranks): a rank alone sends nothing") }
    if seeds < 1 { throw ValidationError("--seeds is at least 1, not \(seeds)") }
  }
}

/// Images of digits and a perceptron.
struct Images: PaperTable {
  static let configuration = CommandConfiguration(abstract: "A perceptron of 784-512-512-10 on MNIST.")
  @Option(help: ArgumentHelp("The data: the folder of MNIST's four files.", valueName: "spec")) var data =
    "idx:../shared/data/mnist"
  @OptionGroup var setting: Setting
  @OptionGroup var telling: Telling

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let comparison = Comparison(
      title: "MNIST, 784-512-512-10", data: data, heldOut: ",held-out=10000", rates: ["0.05", "0.1", "0.2"],
      options: ["--model", "mlp:512,512", "--epochs", "2", "--minibatch", "256"], result: .accuracy)
    return [try comparison.table(laboratory, setting)]
  }
}

/// Recordings of spoken digits and a perceptron.
struct Speech: PaperTable {
  static let configuration = CommandConfiguration(abstract: "A perceptron of two layers of 512 on frames of spoken digits.")
  @Option(help: ArgumentHelp("The data: the folder of recordings.", valueName: "spec")) var data =
    "speech:../shared/data/free-spoken-digits"
  @OptionGroup var setting: Setting
  @OptionGroup var telling: Telling

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let comparison = Comparison(
      title: "Spoken digits, two layers of 512", data: data, heldOut: nil, rates: ["0.02", "0.05", "0.1"],
      options: ["--model", "mlp:512,512", "--epochs", "2", "--minibatch", "256"], result: .accuracy)
    return [try comparison.table(laboratory, setting)]
  }
}

/// Characters of a text and a small transformer with Adam.
struct Characters: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "A transformer of two blocks of width 64 on characters, with AdamW.")
  @Option(help: ArgumentHelp("The data: a text.", valueName: "spec")) var data = "text:../shared/data/tinyshakespeare/input.txt"
  @OptionGroup var setting: Setting
  @OptionGroup var telling: Telling

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let comparison = Comparison(
      title: "Shakespeare, two blocks of width 64", data: data, heldOut: nil, rates: ["0.001", "0.002", "0.004"],
      options: [
        "--model", "transformer:layers=2,heads=4,width=64", "--steps", "400", "--minibatch", "32", "--optimizer",
        "adamw:beta2=0.99", "--weight-decay", "0.1", "--clip", "1",
      ], result: .loss, isPlainDescent: false)
    return [try comparison.table(laboratory, setting)]
  }
}

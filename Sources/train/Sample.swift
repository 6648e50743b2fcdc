import ArgumentParser
import Files
import MPI
import Strategies
import Trainer

extension Train {
  /// Writes text by a saved model.
  struct Sample: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write text by a saved transformer.",
      discussion: """
        Prints the prompt and what the model writes after it, character by character as they are drawn. The newest complete \
        checkpoint is read, and the run's data for their characters; the same seed writes the same text.
        """)

    @Option(help: ArgumentHelp("The directory of checkpoints, or one checkpoint in it.", valueName: "dir"))
    var checkpoint: String
    @Option(parsing: .unconditional, help: ArgumentHelp("The text to go on from. (default: a new line)", valueName: "text"))
    var prompt = "\n"
    @Option(
      parsing: .unconditional, help: ArgumentHelp("The number of characters to write. (default: 500)", valueName: "n"))
    var length: String?
    @Option(
      parsing: .unconditional,
      help: ArgumentHelp(
        "Below 1, probable characters become more probable; 0 takes the most probable one. (default: 1)", valueName: "x"))
    var temperature: String?
    @Option(
      parsing: .unconditional,
      help: ArgumentHelp("Draw from the most probable characters only. (default: from all)", valueName: "n"))
    var topK: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("The seed of the draws. (default: 1)", valueName: "n"))
    var seed: String?
    @Option(help: ArgumentHelp("Where the run's data are now. (default: where they were)", valueName: "spec"))
    var data: String?

    /// The names of the options allowed after `--`.
    static let optionNames = ["checkpoint", "prompt", "length", "temperature", "top-k", "seed", "data", "help"]

    func run() throws {
      let sampling = try sampling()
      if let data { try Launch.check(data: data) }
      Launch.run { world in
        let saved = try SavedModel(checkpoint, data: data, on: world)
        do {
          var isFirst = true
          try saved.continueText(prompt, by: sampling) { character in
            try StandardStreams.write((isFirst ? prompt : "") + character)
            isFirst = false
          }
        } catch let error as FileError {
          Launch.complain("\(error)")
          return error.exitStatus
        }
        return Launch.tell("")
      }
    }

    private func sampling() throws -> TextSampling {
      var sampling = TextSampling()
      sampling.length = try number(length, "length", 0...100_000_000) ?? sampling.length
      sampling.topCount = try number(topK, "top-k", 1...Int.max)
      if let temperature {
        guard let value = Double(temperature), (0...1000).contains(value) else {
          throw OptionError("--temperature is a number of 0 to 1000, not '\(temperature)'")
        }
        sampling.temperature = value
      }
      if let seed {
        var options = TrainerOptions()
        try options.set("seed", to: seed)
        sampling.seed = options.seed
      }
      return sampling
    }

    private func number(_ text: String?, _ name: String, _ range: ClosedRange<Int>) throws(OptionError) -> Int? {
      guard let text else { return nil }
      guard let value = Int(text), range.contains(value) else {
        let limit = range.upperBound == .max ? "from \(range.lowerBound)" : "of \(range.lowerBound) to \(range.upperBound)"
        throw OptionError("--\(name) is a whole number \(limit), not '\(text)'")
      }
      return value
    }
  }
}

import ArgumentParser
import Buffers
import Collectives
import Datasets
import Files
import MPI
import Networks
import Optimizers
import Strategies
import Trainer
import Transport

extension Train {
  /// Prints the choices.
  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the models, data sets, codecs, strategies, optimizers and schedules there are.")

    func run() throws {
      guard Launcher.rank == 0 else { return }
      try StandardStreams.write(text)
    }

    private var text: String {
      [
        "A SPEC is name, or name:value,…,key=value,…\n",
        text("--model", models), text("--data", datasets), text("--partition", partitions),
        text(
          "--codec", aggregations, more: ("auto", "the one whose signal arrives earliest, as measured at the start")),
        text("--warm-start", WarmStart.forms), text("--strategy", strategies),
        text("--optimizer", optimizers) { ("rate", "\($0.learningRate) if --learning-rate is not given") },
        text("--schedule", schedules), text("--tune-minibatch", minibatchSearches), text("--tune-rate", rateControls),
      ].map { $0 + "\n" }.joined()
    }

    private func text(_ option: String, _ forms: [(name: String, summary: String)]) -> String {
      ([option] + forms.map { "  \($0.name.padded(to: 14))\($0.summary)" }).map { $0 + "\n" }.joined()
    }

    private func text<Product>(
      _ option: String, _ registry: Registry<Product>, more: (name: String, summary: String)? = nil,
      note: (Product) -> (name: String, text: String)? = { _ in nil }
    ) -> String {
      var lines = [option]
      for entry in registry.entries {
        lines.append("  \(entry.name.padded(to: 14))\(entry.summary)")
        if let values = entry.values { lines.append("    \("values".padded(to: 14))\(values)") }
        for key in entry.keys { lines.append("    \("\(key.name)=".padded(to: 14))\(key.meaning)") }
        if let note = (try? registry.make(entry.name)).flatMap(note) {
          lines.append("    \(note.name.padded(to: 14))\(note.text)")
        }
      }
      if let more { lines.append("  \(more.name.padded(to: 14))\(more.summary)") }
      return lines.map { $0 + "\n" }.joined()
    }
  }
}

extension String {
  /// The string padded with spaces to `width` characters, with at least one space.
  fileprivate func padded(to width: Int) -> String { self + String(repeating: " ", count: max(1, width - count)) }
}

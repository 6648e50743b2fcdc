import ArgumentParser
import Buffers
import Codecs
import Datasets
import Networks
import Trainer

extension Train {
  /// Prints the choices.
  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the models, data sets, codecs, strategies, optimizers and schedules there are.")

    func run() throws {
      guard Launch.rank == 0 else { return }
      print("A SPEC is name, or name:value,…,key=value,…\n")
      show("--model", models)
      show("--data", datasets)
      show("--partition", partitions)
      show("--codec", codecs, more: ("auto", "what the ranks measure as fastest at the start of a run"))
      show("--warm-start", WarmStart.forms)
      show("--strategy", strategies)
      show("--optimizer", optimizers)
      show("--schedule", schedules)
      show("--tune-minibatch", minibatchSearches)
      show("--tune-rate", rateControls)
    }

    private func show(_ option: String, _ forms: [(name: String, summary: String)]) {
      print(option)
      for form in forms { print("  \(form.name.padded(to: 14))\(form.summary)") }
      print("")
    }

    private func show<Product>(_ option: String, _ registry: Registry<Product>, more: (name: String, summary: String)? = nil) {
      print(option)
      for entry in registry.entries {
        print("  \(entry.name.padded(to: 14))\(entry.summary)")
        if let values = entry.values { print("    \("values".padded(to: 14))\(values)") }
        for key in entry.keys { print("    \("\(key.name)=".padded(to: 14))\(key.meaning)") }
      }
      if let more { print("  \(more.name.padded(to: 14))\(more.summary)") }
      print("")
    }
  }
}

extension String {
  /// Followed by spaces up to `width` characters, and one at least.
  fileprivate func padded(to width: Int) -> String { self + String(repeating: " ", count: max(1, width - count)) }
}

import ArgumentParser
import Foundation
import Laboratory

/// How training samples are distributed.
enum Partition: String, CaseIterable, ExpressibleByArgument {
  case iid
  case byClass = "by-class"
}

/// The settings that all runs of a table share: data, model, ranks, length.
struct Setting: ParsableArguments {
  @Option(help: ArgumentHelp("The data: the folder of MNIST's four files.", valueName: "spec"))
  var data = "idx:../shared/data/mnist"
  @Option(help: ArgumentHelp("The model.", valueName: "spec")) var model = "mlp:512,512"
  @Option(help: ArgumentHelp("The passes over the data.", valueName: "n")) var epochs = 5
  @Option(help: ArgumentHelp("The ranks of a run.", valueName: "n")) var ranks = 8
  @Option(help: ArgumentHelp("How many seeds a figure is the mean of.", valueName: "n")) var seeds = 1
  @Option(
    help: ArgumentHelp(
      "How training samples are dealt: iid, or by-class, where each client holds samples of one class, and each rank is another "
        + "client in every step.", valueName: "how")) var partition = Partition.iid
  @Option(help: ArgumentHelp("The clients of by-class.", valueName: "n")) var clients = 1000

  func validate() throws {
    for (name, value) in [("epochs", epochs), ("ranks", ranks), ("seeds", seeds), ("clients", clients)] where value < 1 {
      throw ValidationError("--\(name) is at least 1, not \(value)")
    }
  }

  /// Throws if the data are missing.
  func checkData() throws {
    guard let folder else { return }
    guard FileManager.default.fileExists(atPath: folder) else {
      throw Failure("there is no folder \(folder); get the four files of MNIST and name their folder with --data idx:DIR")
    }
  }

  /// The folder of the data, if they are files.
  var folder: String? {
    guard data.hasPrefix("idx:") else { return nil }
    return String(data.dropFirst("idx:".count).prefix { $0 != "," })
  }

  /// A run of `contender`.
  func job(_ contender: Contender, seed: Int, data other: String? = nil) -> Job {
    let dealt =
      partition == .iid
      ? [] : ["--partition", "by-class:1", "--clients", String(clients), "--sampled", String(ranks)]
    return Job(
      name: "\(contender.name) \(contender.sizes), seed \(seed)", program: "train", ranks: ranks,
      arguments: ["--data", other ?? data, "--model", model, "--epochs", String(epochs), "--seed", String(seed)] + dealt
        + contender.options)
  }

  /// The runs in one sentence.
  var description: String {
    let dealt =
      partition == .iid
      ? "samples dealt at random" : "\(clients) clients of one class each, another one on each rank in every step"
    return "\(model), \(data.split(separator: ":").first ?? ""), \(epochs) epochs, \(ranks) ranks, minibatch 256, \(dealt), "
      + (seeds == 1 ? "seed 1" : "mean (and range) of seeds 1–\(seeds)") + "."
  }
}

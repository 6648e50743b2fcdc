import ArgumentParser
import Laboratory

/// The paper's comparison in miniature: a small residual network on CIFAR-10 with four and eight workers.
///
/// Each method has its rate, and its λ₀, from a small grid on training images that are held out; the figures are those of the test images,
/// with other seeds.
struct Paper: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "A residual network on CIFAR-10: in sequence, in step, and asynchronously with and without compensation.")

  @Option(help: ArgumentHelp("The directory of CIFAR-10's binary version.", valueName: "dir")) var images =
    "../shared/data/cifar-10-batches-bin"
  @Option(help: ArgumentHelp("How many seeds a figure is the mean of.", valueName: "n")) var seeds = 3
  @Option(help: ArgumentHelp("Passes over the training images.", valueName: "n")) var epochs = 3
  @OptionGroup var telling: Telling

  func validate() throws {
    if seeds < 1 || epochs < 1 { throw ValidationError("--seeds and --epochs are at least 1") }
  }

  /// A row of the table: a method and its grid.
  private struct Method {
    let name: String
    let workers: Int
    /// The strategies to choose from; empty for one rank that computes whole minibatches.
    let strategies: [String]
    let rates: [String]
    /// The paper's error in percent.
    let paper: String
  }

  /// Samples of a worker's minibatch.
  private static let perWorker = 32
  /// Training images that are held out.
  private static let heldOut = 4000

  private static let methods =
    [Method(name: "in sequence", workers: 1, strategies: [], rates: ["0.1", "0.2", "0.4", "0.8"], paper: "8.65")]
    + [(4, ["9.17", "9.27", "8.67", "8.19"]), (8, ["10.10", "10.26", "9.27", "8.57"])].flatMap { workers, paper in
      [
        Method(name: "in step", workers: workers, strategies: [], rates: ["0.2", "0.4", "0.8", "1.6"], paper: paper[0]),
        Method(name: "asgd", workers: workers, strategies: ["asgd"], rates: ["0.05", "0.1", "0.2", "0.4"], paper: paper[1]),
        Method(
          name: "dc-asgd, form c", workers: workers, strategies: ["dc-asgd:form=c,lambda=0.04", "dc-asgd:form=c,lambda=5"],
          rates: ["0.1", "0.2", "0.4"], paper: paper[2]),
        Method(
          name: "dc-asgd, form a", workers: workers, strategies: ["dc-asgd:lambda=2", "dc-asgd:lambda=10"],
          rates: ["0.1", "0.2", "0.4"], paper: paper[3]),
      ]
    }

  /// A run of a method; on the held-out images if it has no seed.
  private func job(_ method: Method, _ strategy: String?, rate: String, seed: Int?) -> Job {
    let order = strategy.map {
      ["--strategy", "\($0)\($0.contains(":") ? "," : ":")workers=\(method.workers)", "--emulate-speed", "rr"]
    }
    let kind = seed.map { "seed \($0)" } ?? "held out"
    return Job(
      name: "\(method.workers) workers, \(strategy ?? method.name), rate \(rate), \(kind)", program: "train", ranks: 1,
      arguments: [
        "--data", "cifar10:\(images)" + (seed == nil ? ",held-out=\(Self.heldOut)" : ""), "--model", "resnet:8",
        "--minibatch", String(method.workers * Self.perWorker), "--epochs", String(epochs), "--momentum", "0", "--weight-decay",
        "1e-4",
        "--optimizer", "sgd:decay=matrices", "--schedule", "cosine", "--learning-rate", rate, "--codec", "none", "--warm-start",
        "0",
        "--verify-every", "0", "--evaluate-every", "1000000", "--non-finite", "skip", "--seed", String(seed ?? 100),
      ] + (order ?? []))
  }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let grids = Self.methods.map { method in
      (method.strategies.isEmpty ? [nil] : method.strategies.map(Optional.some)).flatMap { strategy in
        method.rates.map { (strategy: strategy, rate: $0) }
      }
    }
    let trials = try laboratory.run(
      zip(Self.methods, grids).flatMap { method, grid in grid.map { job(method, $0.strategy, rate: $0.rate, seed: nil) } })
    var (chosen, first): ([(strategy: String?, rate: String)], Int) = ([], 0)
    for grid in grids {
      let accuracies = try trials[first..<first + grid.count].map { try $0.number("testAccuracy") }
      chosen.append(grid[accuracies.indices.max { accuracies[$0] < accuracies[$1] }!])
      first += grid.count
    }
    let reports = try laboratory.run(
      zip(Self.methods, chosen).flatMap { method, choice in
        (1...seeds).map { job(method, choice.strategy, rate: choice.rate, seed: $0) }
      })
    var table = TextTable(
      "ResNet-8 on CIFAR-10: error in percent", columns: ["workers", "method", "setting", "error", "the paper's, ResNet-20"])
    for (index, (method, choice)) in zip(Self.methods, chosen).enumerated() {
      let errors = try reports[index * seeds..<(index + 1) * seeds].map { try 100 * (1 - $0.number("testAccuracy")) }
      let keys = choice.strategy.flatMap { $0.firstMatch(of: /lambda=([0-9.]+)/) }.map { ", λ₀ = \($0.1)" } ?? ""
      table.add([
        String(method.workers), method.name, "η = \(choice.rate)\(keys)", Sample(values: errors).text(digits: 2), method.paper,
      ])
    }
    table.notes = [
      "\(epochs) epochs, minibatches of \(Self.perWorker) a worker, workers in turn, rate falling as a cosine, no momentum, weight decay 1e-4; "
        + "settings by the last \(Self.heldOut) training images. Mean (and range) of \(seeds) seeds. The paper: 160 epochs, minibatches of 128."
    ]
    return [table]
  }
}

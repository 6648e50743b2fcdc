import ArgumentParser
import Laboratory
import Reporting

/// A perceptron that learns few samples by heart, and what keeps it from that.
struct Regularization: PaperTable {
  static let configuration = CommandConfiguration(abstract: "Dropout and DropConnect on few samples: the test loss by epoch.")

  @Option(help: ArgumentHelp("Write the curves as a picture.", valueName: "file")) var svg: String?
  @Option(help: ArgumentHelp("The passes over the samples.", valueName: "n")) var epochs = 30
  @OptionGroup var telling: Telling

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let variants = [
      Variant(name: "plain", options: ["--model", "mlp:512,512"]),
      Variant(name: "weight decay 0.003", options: ["--model", "mlp:512,512", "--weight-decay", "0.003"]),
      Variant(name: "dropout 0.5", options: ["--model", "mlp:512,512,dropout=0.5"]),
      Variant(name: "DropConnect 0.5", options: ["--model", "mlp:512,512,dropconnect=0.5"]),
    ]
    let common = ["--minibatch", "50", "--epochs", String(epochs), "--learning-rate", "0.02", "--schedule", "constant"]
    let reports = try laboratory.run(variants.map { $0.job(samples: 1500, common) })
    try write("Regularization: 1500 training samples", "testLoss", "test loss", variants, reports, to: svg)
    var table = table("A perceptron on 1500 samples", variants, reports)
    table.notes = [
      "784-512-512-10, \(epochs) epochs in minibatches of 50, constant rate 0.02, momentum 0.9. The training loss of dropout and "
        + "DropConnect is that of the networks with parts left out."
    ]
    return [table]
  }
}

/// Batch normalization by the samples of a rank, of all ranks, and of one rank with the whole minibatch.
struct Normalization: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "Batch normalization: by the samples of a rank, of all ranks, or none; the training loss by epoch.")

  @Option(help: ArgumentHelp("Write the curves as a picture.", valueName: "file")) var svg: String?
  @Option(help: ArgumentHelp("The passes over the samples.", valueName: "n")) var epochs = 6
  @OptionGroup var telling: Telling

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    func model(_ norm: String) -> [String] { ["--model", "cnn:8,16,32,norm=\(norm),hidden=0,kernel=3"] }
    let variants = [
      Variant(name: "none", options: model("none")),
      Variant(name: "one rank, 16 samples", options: model("batch")),
      Variant(name: "4 ranks, 4 samples each", ranks: 4, options: model("batch")),
      Variant(name: "4 ranks, synchronized", ranks: 4, options: model("sync")),
    ]
    let common = [
      "--minibatch", "16", "--epochs", String(epochs), "--learning-rate", "0.02", "--momentum", "0.5", "--schedule", "constant",
    ]
    let reports = try laboratory.run(variants.map { $0.job(samples: 2000, common) })
    try write("Batch normalization", "trainLoss", "training loss", variants, reports, to: svg)
    var table = table("Three convolutions with and without batch normalization", variants, reports)
    table.notes = [
      "Filters 8, 16, 32; 2000 samples in minibatches of 16, \(epochs) epochs, constant rate 0.02, momentum 0.5. Synchronized ranks "
        + "train what one rank does; by four samples, means and variances are noisy."
    ]
    return [table]
  }
}

/// Plain, highway and residual networks of growing depth.
struct Depth: PaperTable {
  static let configuration = CommandConfiguration(abstract: "Plain, highway and residual networks: the training loss by depth.")

  @Option(help: ArgumentHelp("Write the curves as a picture.", valueName: "file")) var svg: String?
  @Option(help: ArgumentHelp("The passes over the samples.", valueName: "n")) var epochs = 4
  @OptionGroup var telling: Telling

  /// The depths of each kind.
  private static let kinds: [(name: String, depths: [Int], model: @Sendable (Int) -> String)] = [
    ("plain, sigmoid", [2, 5, 10, 20, 40], { "mlp:\($0)x64,activation=sigmoid,start=glorot" }),
    ("plain, ReLU", [2, 5, 10, 20, 40], { "mlp:\($0)x64,start=he" }),
    ("highway", [2, 5, 10, 20, 40], { "highway:\($0)x64" }), ("residual", [8, 20, 32], { "resnet:\($0)" }),
  ]

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let variants = Self.kinds.flatMap { kind in
      kind.depths.map { Variant(name: "\(kind.name), \($0) layers", options: ["--model", kind.model($0)]) }
    }
    let common = ["--minibatch", "50", "--epochs", String(epochs), "--learning-rate", "0.02", "--schedule", "constant"]
    let reports = try laboratory.run(variants.map { $0.job(samples: 1500, common) })
    var (series, next) = ([SVGPlot.Series](), 0)
    for kind in Self.kinds {
      let points = kind.depths.enumerated().compactMap { index, depth in
        reports[next + index].last("trainLoss").map { (x: Double(depth), y: $0) }
      }
      series.append(SVGPlot.Series(kind.name, points))
      next += kind.depths.count
    }
    try write(
      SVGPlot(
        title: "Depth", x: .init("layers", .logarithmic(base: 2)), y: .init("training loss after \(epochs) epochs"),
        series: series),
      to: svg)
    var table = table("Networks of growing depth", variants, reports)
    table.notes = [
      "Layers of 64 units, or ResNets of 16 to 64 channels; 1500 samples in minibatches of 50, \(epochs) epochs, constant rate 0.02, "
        + "momentum 0.9. A loss of 2.30 is that of ten equally likely classes: nothing was learnt, because the gradient vanished on its "
        + "way to the first layers."
    ]
    return [table]
  }
}

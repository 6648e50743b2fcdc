public import Buffers

/// How training progress controls the learning rate, besides its schedule.
public enum RateControl: Hashable, Sendable {
  /// Changed after epochs by how much they improved.
  case afterEpoch(AfterEpoch)
  /// Searched before epochs.
  case search(RateSearch)

  /// Epochs between decisions.
  public var interval: Int {
    switch self {
    case .afterEpoch(let control): control.interval
    case .search(let search): search.interval
    }
  }
}

/// The controls of `--tune-rate`.
public let rateControls = Registry<RateControl>(
  "rate control",
  [
    .init(
      "after-epoch", "changes the rate after each epoch by how much the loss fell; multiplies the rate of --schedule",
      keys: [
        ("every", "epochs between decisions (1)"),
        ("by", "train (default): the mean loss of the samples trained on; test: that of the test samples"),
        ("improve", "percent by which the loss must fall; if it does not, the rate is reduced (0)"),
        ("boost", "percent by which the loss must fall for the rate to be increased (none)"),
        ("reduce", "factor when the rate is reduced (0.618)"),
        ("increase", "factor when the rate is increased (1.382)"),
        ("continue", "true: once reduced, the rate is reduced every time, and the second failure ends the run (false)"),
        ("load-best", "true: if the loss rises, the state before that is restored (true)"),
      ]
    ) { specification in
      var control = AfterEpoch()
      control.interval = try specification.integer("every", default: 1, in: 1...1_000_000)
      control.leastImprovement = try specification.number("improve", default: 0, in: 0...100) / 100
      if specification.options["boost"] != nil {
        control.largeImprovement = try specification.number("boost", default: 0, in: 0...100) / 100
      }
      control.reduction = try specification.number("reduce", default: control.reduction, in: 1e-6...1)
      control.increase = try specification.number("increase", default: control.increase, in: 1...1e6)
      control.continues = try specification.flag("continue", default: false)
      control.loadsBest = try specification.flag("load-best", default: true)
      if let name = specification.options["by"] {
        guard let samples = AfterEpoch.Samples(rawValue: name) else {
          throw SpecificationError("'\(specification)': by is train or test, not '\(name)'")
        }
        control.samples = samples
      }
      return .afterEpoch(control)
    },
    .init(
      "search", "finds the rate of an epoch by short trials before it; from there on the rate follows --schedule",
      keys: [
        ("every", "epochs between searches (1)"),
        ("samples", "training samples of each trial (an eighth of an epoch, 32 minibatches at least)"),
        ("least", "the least rate, as a share of --learning-rate (0.001)"),
      ]
    ) { specification in
      var search = RateSearch()
      search.interval = try specification.integer("every", default: 1, in: 1...1_000_000)
      if specification.options["samples"] != nil {
        search.samples = try specification.integer("samples", default: 1, in: 1...Int(Int32.max))
      }
      search.least = try specification.number("least", default: search.least, in: 1e-12...1)
      return .search(search)
    },
  ])

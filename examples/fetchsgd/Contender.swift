/// A method of exchanging gradients, at one size.
struct Contender {
  /// The name of its curve.
  let name: String
  /// The sizes of its messages.
  let sizes: String
  /// The options for `train`.
  let options: [String]
  /// Whether its curve is drawn as a variant of the previous one.
  var isVariant = false

  /// Whether it is the baseline of the others.
  var isFloat: Bool { options.contains("none") && !isVariant }

  /// All contenders, floats first, in sizes of about 10, 30, 60 (and 120) times fewer bytes in both directions together.
  static func all(_ partition: Partition) -> [Contender] {
    let rates = Rates(partition)
    return [floats(rates.floats), floatsLikeSketch(rates.sketch), oneBit(rates.oneBit)]
      + [13, 36, 72, 144].map { sketch(columns: $0, rates.sketch) }
      + [8, 20, 40].map { forgetful(columns: $0, rates.forgetfulSketch) }
      + [70, 210, 420].map { local(k: $0, rates.local) }
      + [40, 120, 240].map { forgetfulLocal(k: $0, rates.forgetfulLocal) }
      + [10, 100].map { trueTopK(k: $0, rates.trueTopK) }
  }

  static func floats(_ rate: Rate) -> Contender {
    Contender(name: "floats", sizes: "", options: ["--codec", "none"] + rate.options)
  }

  /// Floats at the sketch's rate, to separate the effect of the rate from that of the sketch.
  static func floatsLikeSketch(_ rate: Rate) -> Contender {
    Contender(name: "floats, the sketch's rate", sizes: "", options: ["--codec", "none"] + rate.options, isVariant: true)
      .untilTheEnd
  }

  static func oneBit(_ rate: Rate) -> Contender {
    Contender(name: "one bit", sizes: "", options: ["--codec", "one-bit", "--warm-start", "0"] + rate.options)
  }

  /// The sketch with an exact second round: one row is enough if candidates are fetched exactly.
  static func sketch(columns: Int, _ rate: Rate) -> Contender {
    let k = columns * 17 / 6
    return Contender(
      name: "sketch, second round", sizes: "c = d/\(columns), k = d/\(k)",
      options: ["--strategy", "fetch-sgd:rows=1,columns=1/\(columns),candidates=2,k=1/\(k)"] + rate.options)
  }

  /// The sketch with memory for clients that take part once, by the rule of the paper's published code.
  static func forgetful(columns: Int, _ rate: Rate) -> Contender {
    Contender(
      name: "sketch, clients forget", sizes: "c = d/\(columns), k = d/\(4 * columns)",
      options: ["--strategy", "fetch-sgd:recovery=zero,rows=1,columns=1/\(columns),k=1/\(4 * columns)"] + rate.options,
      isVariant: true
    ).untilTheEnd
  }

  /// Each rank's largest values, with error feedback.
  static func local(k: Int, _ rate: Rate) -> Contender {
    Contender(name: "local top-k", sizes: "k = d/\(k)", options: ["--strategy", "local-top-k:k=1/\(k)"] + rate.options)
      .untilTheEnd
  }

  /// Each rank's largest values; what is not sent is lost.
  static func forgetfulLocal(k: Int, _ rate: Rate) -> Contender {
    Contender(
      name: "local top-k, clients forget", sizes: "k = d/\(k)",
      options: ["--strategy", "local-top-k:k=1/\(k),feedback=none"] + rate.options, isVariant: true
    ).untilTheEnd
  }

  /// The same, but a run that diverges continues to its end, with zeros.
  var untilTheEnd: Contender {
    let more = options.contains("--non-finite") ? [] : ["--non-finite", "zero"]
    return Contender(name: name, sizes: sizes, options: options + more, isVariant: isVariant)
  }

  /// The largest values of the exact sum.
  static func trueTopK(k: Int, _ rate: Rate) -> Contender {
    Contender(name: "true top-k", sizes: "k = d/\(k)", options: ["--strategy", "true-top-k:k=1/\(k)"] + rate.options)
      .untilTheEnd
  }
}

/// A learning rate, momentum and schedule.
struct Rate {
  /// The options for `train`.
  let options: [String]

  init(_ rate: Double, momentum: Double, warmup: Int? = nil) {
    options =
      ["--learning-rate", "\(rate)", "--momentum", "\(momentum)"]
      + (warmup.map { ["--schedule", "cosine:warmup=\($0)"] } ?? [])
  }
}

/// The rates of all methods, chosen on held-out training samples (`choice`).
struct Rates {
  let floats: Rate
  let oneBit: Rate
  var sketch = Rate(1, momentum: 0, warmup: 300)
  var forgetfulSketch = Rate(0.5, momentum: 0, warmup: 300)
  var local = Rate(1, momentum: 0, warmup: 300)
  var forgetfulLocal = Rate(0.3, momentum: 0)
  var trueTopK = Rate(1, momentum: 0, warmup: 300)

  init(_ partition: Partition) {
    switch partition {
    case .iid:
      floats = Rate(0.1, momentum: 0.9)
      oneBit = Rate(0.1, momentum: 0.9, warmup: 300)
    case .byClass:
      floats = Rate(0.1, momentum: 0.9)
      oneBit = Rate(0.3, momentum: 0)
      local = Rate(0.5, momentum: 0, warmup: 300)
      forgetfulLocal = Rate(0.5, momentum: 0, warmup: 300)
      trueTopK = Rate(0.5, momentum: 0, warmup: 300)
    }
  }
}

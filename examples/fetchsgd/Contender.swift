/// A way to exchange gradients, of one size.
struct Contender {
  /// The name of its curve.
  let name: String
  /// How large its messages are.
  let sizes: String
  /// What `train` is told.
  let options: [String]
  /// Whether its curve is drawn as a variant of the one before.
  var isVariant = false

  /// Whether it sends the floats themselves.
  var isFloat: Bool { options.contains("none") }

  /// All, floats first.
  static func all(_ partition: Partition) -> [Contender] {
    let rates = Rates(partition)
    let floats = [Contender(name: "floats", sizes: "", options: ["--codec", "none"] + rates.floats.options)]
    let oneBit = [
      Contender(name: "one bit", sizes: "", options: ["--codec", "one-bit", "--warm-start", "0"] + rates.oneBit.options)
    ]
    return floats + oneBit + [6, 12, 24, 36, 72, 144].map { sketch(columns: $0, k: $0 * 17 / 6, rates.sketch) }
      + [12, 24, 48].map { stateless(columns: $0, k: $0 * 3 / 4, rates.stateless) }
      + [60, 180, 360, 720].map { local(k: $0, feedback: "rank", rates.local) }
      + [60, 180, 360].map { local(k: $0, feedback: "none", rates.stateless) }
      + [10, 30, 100, 300].map { trueTopK(k: $0, rates.sketch) }
  }

  /// The sketch with an exact second round: one row is enough where candidates are fetched exactly.
  static func sketch(columns: Int, k: Int, _ rate: Rate) -> Contender {
    Contender(
      name: "sketch, second round", sizes: "c = d/\(columns), k = d/\(k)",
      options: ["--strategy", "fetch-sgd:rows=1,columns=1/\(columns),candidates=2,k=1/\(k)"] + rate.options)
  }

  /// The sketch that remembers for clients that come once: the paper's published code.
  static func stateless(columns: Int, k: Int, _ rate: Rate) -> Contender {
    Contender(
      name: "sketch, no memory of clients", sizes: "3 rows, c = d/\(3 * columns), k = d/\(k)",
      options: ["--strategy", "fetch-sgd:recovery=zero,rows=3,columns=1/\(3 * columns),k=1/\(k)"] + rate.options,
      isVariant: true)
  }

  static func local(k: Int, feedback: String, _ rate: Rate) -> Contender {
    let hasMemory = feedback == "rank"
    return Contender(
      name: hasMemory ? "local top-k" : "local top-k, no memory of clients", sizes: "k = d/\(k)",
      options: ["--strategy", "local-top-k:k=1/\(k),feedback=\(feedback)"] + rate.options, isVariant: !hasMemory)
  }

  static func trueTopK(k: Int, _ rate: Rate) -> Contender {
    Contender(name: "true top-k", sizes: "k = d/\(k)", options: ["--strategy", "true-top-k:k=1/\(k)"] + rate.options)
  }
}

/// A learning rate and what goes with it.
struct Rate {
  let options: [String]

  init(_ rate: Double, momentum: Double, warmup: Int? = nil) {
    options =
      ["--learning-rate", "\(rate)", "--momentum", "\(momentum)"]
      + (warmup.map { ["--schedule", "cosine:warmup=\($0)"] } ?? [])
  }
}

/// The rates of all ways; chosen on training samples that were held out (`choice`).
struct Rates {
  let floats: Rate
  let oneBit: Rate
  let sketch: Rate
  let local: Rate
  let stateless: Rate

  init(_ partition: Partition) {
    switch partition {
    case .iid:
      floats = Rate(0.1, momentum: 0.9)
      oneBit = Rate(0.1, momentum: 0.9, warmup: 300)
      sketch = Rate(1, momentum: 0, warmup: 300)
      local = Rate(1, momentum: 0, warmup: 300)
      stateless = Rate(0.5, momentum: 0)
    case .byClass:
      floats = Rate(0.3, momentum: 0)
      oneBit = Rate(0.3, momentum: 0)
      sketch = Rate(0.3, momentum: 0)
      local = Rate(0.3, momentum: 0)
      stateless = Rate(0.1, momentum: 0)
    }
  }
}

internal import ArgumentParser
internal import Buffers
internal import Codecs
internal import MPI
internal import Networks

#if canImport(Glibc)
  internal import Glibc
#endif

struct StepCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "step", abstract: "A training step: compute, exchange, update, overlap.",
    discussion: """
      Runs whole steps (forward, backward, exchange, SGD with momentum) on random samples. Times are medians over the steps, \
      each of the slowest rank. With --peer, the same steps run in another program by turns, for example in PyTorch:

        bench step --model mlp:2048,2048,2048 --peer scripts/torch-step.py
      """)

  @Option(help: "The model; see 'train list'.")
  var model = "mlp:2048,2048,2048"
  @Option(help: "Values of a sample.")
  var inputs = 784
  @Option(help: "Classes.")
  var classes = 10
  @Option(help: "Samples in a step over all ranks.")
  var minibatch = 256
  @Option(help: "The codec of the exchange.")
  var codec = "one-bit"
  @Option(help: "Steps in a turn.")
  var iterations = 10
  @Option(help: "Turns; with --peer both sides take each.")
  var turns = 7
  @Option(help: "Threads of the matrix products on each rank.")
  var threads = 1
  @Option(help: "A Python script that runs the same steps when told to, such as scripts/torch-step.py; one rank only.")
  var peer: String?
  @OptionGroup var output: OutputOptions

  func validate() throws {
    let positive = [
      ("inputs", inputs), ("classes", classes), ("minibatch", minibatch), ("iterations", iterations), ("turns", turns),
      ("threads", threads),
    ]
    for (name, value) in positive where value < 1 { throw ValidationError("--\(name) is at least 1, not \(value)") }
    if let peer, access(peer, R_OK) != 0 { throw ValidationError("--peer: there is no readable file '\(peer)'") }
  }

  func run() throws {
    // What is wrong with the words is said before MPI starts.
    let network = try models.make(model)(inputs, classes)
    let codec = try codecs.make(codec)
    let status: Int32 = withMPI(threads: .multiple) { world in
      guard peer == nil || world.count == 1 else {
        if world.rank == 0 { report("--peer compares one rank with another program; this job has \(world.count)") }
        return 64
      }
      setBLASThreads(threads)
      let benchmark = try StepBenchmark(network: network, codec: codec, minibatch: minibatch, world: world)
      let peer = try peer.map { script in
        try StepPeer(
          script: script, sizes: benchmark.sizes, specification: Specification(model), minibatch: minibatch, threads: threads)
      }
      try measure(benchmark, peer, world)
      return 0
    }
    if status != 0 { throw ExitCode(status) }
  }

  /// Takes turns with the peer, if there is one, and prints the row.
  private func measure(_ benchmark: StepBenchmark, _ peer: StepPeer?, _ world: Communicator) throws {
    // Both sides warm up: memory is touched, threads and processor clocks are awake.
    try benchmark.run(steps: 3)
    _ = try peer?.run(steps: 3)
    benchmark.times = []
    var turnSeconds: [(own: Double, peer: Double)] = []
    for _ in 0..<turns {
      let own = try seconds { try benchmark.run(steps: iterations) }
      if let peer { turnSeconds.append((own, try peer.run(steps: iterations))) }
    }
    let forward = try benchmark.forwardSeconds(repetitions: max(iterations, 5))
    let times = try benchmark.slowestTimes()
    guard world.rank == 0 else { return }
    print(times, forward: forward, turnSeconds, ranks: world.count, peerName: peer?.name)
  }

  private func print(
    _ times: [StepBenchmark.Times], forward: Double, _ turnSeconds: [(own: Double, peer: Double)], ranks: Int, peerName: String?
  ) {
    let step = times.map(\.step).percentile()
    let compute = times.map(\.compute).percentile()
    let forward = min(forward, compute)
    let milliseconds = Column.Format.decimal(2, scale: 1e3)
    var entries: [(Column, Cell)] = [
      (Column("ranks", "ranks", .integer), .integer(ranks)),
      (Column("p50", "step (ms)", milliseconds), .number(step)),
      (Column("forward", "forward (ms)", milliseconds), .number(forward)),
      (Column("backward", "backward (ms)", milliseconds), .number(compute - forward)),
      (Column("exchange", "exchange (ms)", milliseconds), .number(times.map(\.exchange).percentile())),
      (Column("update", "update (ms)", milliseconds), .number(times.map(\.update).percentile())),
      (Column("stepsPerSecond", "steps/s", .decimal(2)), .number(1 / step)),
      text("overlap", "overlap (%)", ranks > 1 ? "not overlapped" : "one rank"), text("codec", "codec", codec),
      text("model", "model", model),
    ]
    if let peerName {
      let ratios = turnSeconds.map { $0.own / $0.peer }
      entries += [
        (
          Column("peerP50", "peer (ms)", milliseconds),
          .number(turnSeconds.map { $0.peer / Double(iterations) }.percentile())
        ),
        (Column("ratio", "own/peer", .decimal(3)), .number(ratios.percentile())),
        text("peer", "peer", peerName),
        text("ratios", "own/peer of each turn", ratios.map { decimal($0, 3) }.joined(separator: " ")),
      ]
    }
    Table("step", entries.map(\.0), options: output).row(entries.map(\.1))
  }

  /// A column for a text, which is wide enough for it.
  private func text(_ key: String, _ title: String, _ value: String) -> (Column, Cell) {
    (Column(key, title + String(repeating: " ", count: max(0, value.count - title.count))), .text(value))
  }
}

/// Writes one sentence to standard error.
private func report(_ sentence: String) {
  let line = Array("bench: \(sentence)\n".utf8)
  _ = write(STDERR_FILENO, line, line.count)
}

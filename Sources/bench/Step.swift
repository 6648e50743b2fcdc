internal import ArgumentParser
internal import Buffers
internal import Collectives
internal import Files
internal import MPI
internal import Networks
internal import Strategies
internal import Trainer
import Transport

#if canImport(Glibc)
  internal import Glibc
#endif

struct StepCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "step", abstract: "A training step: compute, exchange, update, overlap.",
    discussion: """
      Runs whole steps (forward, backward, exchange, SGD with momentum) on random samples. Times are medians over the steps, \
      each of the slowest rank; 'step', t_total and t_compute are medians over the turns, each divided by its steps. On \
      several ranks, steps without their exchange (t_compute), exchanges alone (t_pure) and whole steps (t_total) take turns, \
      and

        overlap (%) = 100 · (1 − (t_total − t_compute)/t_pure), between 0 and 100,

      as the OSU micro-benchmarks define it. Before ranks make an update they agree that it may be done: t_compute and t_total \
      contain this agreement, t_pure does not. 'with agreement' counts it as communication that should be hidden, too. With \
      double-buffer a step has two exchanges, and all times but 'step' are those of one. 'exposed' is what is left of the \
      exchange when a step has computed: 'waiting' for others, and decoding.

      With --emulated-compute ranks sleep instead of computing, between the tensors' turns, and all communication is real, so \
      that many hosts can be emulated on one machine (scripts/cluster). With --peer, the same steps run in another program by \
      turns, for example in PyTorch:

        mpirun … bench step --emulated-compute 250 --strategy double-buffer

      With local and its short names one exchange has all the steps that a rank takes alone before it: 'computing' is the share of their \
      time in which ranks compute, and all times but 'step' are those of the steps of an exchange together.

      With asgd, dc-asgd or ssp no rank waits for a step: the row has the pushes per second, each a gradient of one worker, while all \
      are at work; 'link's limit', what they would be if the links did nothing but carry the same bytes, measured in every turn; the \
      share of their time in which workers compute; and the loads of the owners of shards:

        mpirun … bench step --emulated-compute 20 --strategy asgd
        bench step --model mlp:2048,2048,2048 --peer scripts/peers/torch-step.py
      """)

  @Option(help: "The model; see 'train list'.")
  var model = "mlp:2048,2048,2048"
  @Option(
    help: """
      A sample: a number of values, of which a square is an image of one channel; an image such as 32x32x3; or text:128, a text \
      of 128 tokens.
      """)
  var inputs = "784"
  @Option(help: "Classes; of a text, its distinct tokens.")
  var classes = 10
  @Option(help: "Samples in a step over all ranks.")
  var minibatch = 256
  @Option(help: "The codec of the exchange.")
  var codec = "one-bit"
  @Option(
    help: """
      all-reduce; double-buffer: half a minibatch is computed while the gradient of the half before is exchanged; local, with an \
      exchange after some steps; or asgd, dc-asgd or ssp; with keys as in train.
      """)
  var strategy = "all-reduce"
  @Option(
    help: "What advances an exchange while the model computes: thread, inline (between layers), off, or auto, as in train.")
  var overlap = Overlap.auto.rawValue
  @Option(help: "auto, flat, or hierarchical: the ranks of a host add up before they encode.")
  var topology = Topology.auto.rawValue
  @Option(help: "auto: shared memory inside a host; messages: messages everywhere, as if each rank were a host.")
  var transport = Transport.auto.rawValue
  @Option(help: "Ranks that the model is split over, as in train.")
  var modelParallel = 1
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Milliseconds to sleep in a step instead of computing.", valueName: "ms"))
  var emulatedCompute: Double?
  @Option(help: "Steps in a turn.")
  var iterations = 10
  @Option(help: "Turns; with --peer both sides take each.")
  var turns = 7
  @Option(help: "Threads of the matrix products on each rank.")
  var threads = 1
  @Option(help: "A Python script that runs the same steps when asked to, such as scripts/peers/torch-step.py; one rank only.")
  var peer: String?
  @Option(help: "The Python that runs it; Debian's is the one with Debian's PyTorch.")
  var python = "/usr/bin/python3"
  @OptionGroup var output: OutputOptions

  func validate() throws {
    let positive = [
      ("classes", classes), ("minibatch", minibatch), ("iterations", iterations), ("turns", turns), ("threads", threads),
      ("model-parallel", modelParallel),
    ]
    for (name, value) in positive where value < 1 { throw ValidationError("--\(name) is at least 1, not \(value)") }
    if let emulatedCompute, !(emulatedCompute > 0 && emulatedCompute <= 3.6e6) {
      throw ValidationError("--emulated-compute is a number of milliseconds, more than 0 and at most an hour")
    }
    do {
      _ = try choices()
      _ = try SampleForm(inputs, classCount: classes, option: "--inputs")
    } catch { throw ValidationError("\(error)") }
    let _: Overlap = try choice(overlap, for: "overlap")
    let _: Topology = try choice(topology, for: "topology")
    let _: Transport = try choice(transport, for: "transport")
    try checkPushes()
    guard let peer else { return }
    if access(peer, R_OK) != 0 { throw ValidationError("--peer: there is no readable file '\(peer)'") }
    if access(python, X_OK) != 0 { throw ValidationError("--python: there is no program '\(python)'") }
    if emulatedCompute != nil || strategy != "all-reduce" || modelParallel > 1 {
      throw ValidationError(
        "--peer compares real steps of all-reduce: it does not go with --emulated-compute, double-buffer or --model-parallel"
      )
    }
  }

  func run() throws {
    // Invalid arguments are reported before MPI starts.
    let form = try SampleForm(inputs, classCount: classes, option: "--inputs")
    let network = try models.make(model)(form)
    // Parameters, momentum, and gradients: of steps, of steps without an exchange, and of exchanges alone.
    try requireMemory(values: network.layout.count / max(1, modelParallel), buffers: 5)
    let (aggregation, strategy) = try choices()
    var options = TrainerOptions()
    (options.minibatch, options.threads, options.modelParallel) = (minibatch, threads, modelParallel)
    (options.overlap, options.topology) = (try choice(overlap, for: "overlap"), try choice(topology, for: "topology"))
    options.transport = try choice(transport, for: "transport")
    (options.warmStart, options.strategy, options.codec) = (0, self.strategy, codec)
    let setting = StepSetting(
      form: form, network: network, aggregation: aggregation, strategy: strategy, options: options,
      emulatedCompute: emulatedCompute.map { $0 / 1000 })
    let status: Int32 = withMPI(threads: .multiple) { world in
      guard peer == nil || world.count == 1 else {
        if world.rank == 0 { report("--peer compares one rank with another program; this job has \(world.count)") }
        return 64
      }
      guard world.count % modelParallel == 0 else {
        if world.rank == 0 {
          report(
            "--model-parallel \(modelParallel) needs a number of ranks that is a multiple of \(modelParallel), not \(world.count)"
          )
        }
        return 64
      }
      try prepareProducts(threads: threads)
      if world.rank == 0, let advice = productAdvice() { report("warning: \(advice)") }
      guard strategy.capabilities.isInStep else {
        try measurePushes(PushBenchmark(setting, world: world))
        return 0
      }
      let benchmark = try StepBenchmark(setting, world: world)
      let peer = try peer.map { script in
        try StepPeer(
          script: script, python: python, model: model, inputs: inputs, classes: classes, minibatch: minibatch,
          threads: threads)
      }
      try measure(benchmark, peer)
      return 0
    }
    if status != 0 { throw ExitCode(status) }
  }

  /// Refuses what does not go with owners that apply gradients as they come.
  private func checkPushes() throws {
    let (aggregation, strategy) = try choices()
    guard !strategy.capabilities.isInStep else { return }
    guard strategy.capabilities.hasOwners else {
      throw ValidationError("--strategy \(self.strategy) has no steps and no pushes to owners, which are what is measured here")
    }
    if modelParallel > 1 { throw ValidationError("--strategy \(self.strategy) does not go with --model-parallel") }
    if aggregation.codec == nil {
      throw ValidationError("--strategy \(self.strategy) takes a codec, not \(aggregation.specification)")
    }
    if iterations < 3 {
      throw ValidationError(
        "--iterations is at least 3 with --strategy \(self.strategy): the first and the last are not counted")
    }
  }

  /// Measures turns of pushes, and prints the row.
  private func measurePushes(_ benchmark: PushBenchmark) throws {
    _ = try benchmark.run(count: 3)
    var row = PushRow(benchmark, try (0..<turns).map { _ in try benchmark.run(count: iterations) })
    guard benchmark.grid.all.world.rank == 0 else { return }
    row.addSetting(strategy: strategy, codec: try choices().0.specification, model: model, emulatedCompute: emulatedCompute)
    Table("step", row.entries.map(\.0), options: output).row(row.entries.map(\.1))
  }

  /// What is exchanged, and when.
  private func choices() throws -> (AggregationRecipe, StrategyRecipe) {
    func look<Choice>(_ option: String, _ body: () throws -> Choice) throws -> Choice {
      do { return try body() } catch { throw SpecificationError("--\(option): \(error)") }
    }
    let strategy = try look("strategy") { try strategies.make(self.strategy) }
    return (try strategy.aggregation ?? look("codec") { try aggregations.make(codec) }, strategy)
  }

  /// Takes turns with the peer, if there is one, and prints the row.
  private func measure(_ benchmark: StepBenchmark, _ peer: StepPeer?) throws {
    let world = benchmark.grid.all.world
    let parts: [StepBenchmark.Part] = world.count > 1 ? [.computation, .communication, .whole] : [.whole]
    if let emulatedCompute, world.rank == 0, !output.json {
      writeLine(
        "Computation is emulated: in a step each rank sleeps \(decimal(emulatedCompute, digits: 1)) ms. All communication is real."
      )
    }
    // Both sides warm up: memory is touched, threads and processor clocks are awake.
    let warmUp = try choices().1.schedule.stepsPerExchange == 1 ? 3 : 1
    for part in parts { try benchmark.run(part, count: warmUp) }
    _ = try peer?.run(steps: 3)
    benchmark.reset()
    var turnSeconds: [(own: Double, peer: Double)] = []
    for _ in 0..<turns {
      for part in parts.dropLast() { try benchmark.run(part, count: iterations) }
      let own = try benchmark.run(.whole, count: iterations)
      if let peer { turnSeconds.append((own, try peer.run(steps: iterations))) }
    }
    var row = try StepRow(benchmark, forwardRepetitions: max(iterations, 5))
    if let peer { row.addPeer(peer.name, turnSeconds, iterations: iterations) }
    guard world.rank == 0 else { return }
    row.addSetting(strategy: strategy, codec: try choices().0.specification, model: model, emulatedCompute: emulatedCompute)
    Table("step", row.entries.map(\.0), options: output).row(row.entries.map(\.1))
  }
}

/// Writes one sentence to standard error.
private func report(_ sentence: String) {
  let line = Array("bench: \(sentence)\n".utf8)
  _ = write(STDERR_FILENO, line, line.count)
}

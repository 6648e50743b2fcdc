internal import ArgumentParser
public import Buffers
internal import Codecs
internal import Collectives
internal import Files
public import MPI
internal import Strategies
internal import Trainer
import Transport

struct AllReduceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "all-reduce",
    abstract: "An exchange against MPI_Allreduce and against Morse's own fp32 exchange, interleaved in one run.",
    discussion: """
      Run it under mpirun. Launch Open MPI at its best, or the comparison favours Morse:
        mpirun -np 8 --mca coll_tuned_use_dynamic_rules 1 --mca coll_tuned_allreduce_algorithm 4 bench all-reduce
      and, between hosts, --mca btl_tcp_flags 1. Times are those of the slowest rank; ratios are medians of neighbouring
      runs. Each row checks output + residuals against the exact sum; a wrong value ends the run with an error.

      --strategy measures what train does with a gradient by a strategy that changes models by few values: recovery, momentum and
      memory included. Its first changes are checked against the sum, and to be the same on all ranks.

      With --input your own gradients are exchanged (g-%d.npy: %d is the rank), --repeat times, and the mean of the sums is
      written to --output.
      """)

  @Option(help: "The codec, for example one-bit or one-bit:group=1024; may be repeated.")
  var codec: [String] = []
  @Option(
    help: ArgumentHelp(
      "A strategy that changes models by few values, such as fetch-sgd:k=1/200,columns=1/75, measured from the gradient to the "
        + "changed parameters; may be repeated."))
  var strategy: [String] = []
  @Option(help: "Values in the gradient; may be repeated.")
  var count: [Int] = []
  @Option(help: "Measured rounds of each row.")
  var iterations = 11
  @Option(help: "The rate of a host's link, for the share of the wire's limit: 100mbit, 1gbit.")
  var linkRate: String?
  @Option(help: "auto: shared memory inside a host; messages: messages everywhere.")
  var transport = Transport.auto.rawValue
  @Option(help: "auto, flat, or hierarchical: the ranks of a host add up before they encode.")
  var topology = Topology.auto.rawValue
  @Option(help: "Gradients of your own, one .npy file a rank: 'g-%d.npy'.")
  var input: String?
  @Option(name: .customLong("repeat"), help: "Exchanges of your own gradients.")
  var repetitions = 1
  @Option(help: "Where the mean of the sums goes, one .npy file a rank: 'sum-%d.npy'.")
  var output: String?
  @OptionGroup var format: OutputOptions

  func validate() throws {
    guard iterations > 0, repetitions > 0 else { throw ValidationError("--iterations and --repeat are at least 1") }
    guard count.allSatisfy({ $0 > 0 }) else { throw ValidationError("--count is at least 1") }
    let _: Transport = try choice(transport, for: "transport")
    let _: Topology = try choice(topology, for: "topology")
    if let linkRate, bitsPerSecond(linkRate) == nil {
      throw ValidationError("--link-rate is a number with kbit, mbit or gbit, not '\(linkRate)'")
    }
    guard input == nil || strategy.isEmpty else {
      throw ValidationError("--input exchanges with a codec: it does not go with --strategy")
    }
    do {
      let chosen = try chosenAggregations()
      if input != nil, chosen[0].codec == nil {
        throw SpecificationError("--input takes a codec, not \(chosen[0].specification)")
      }
    } catch { throw ValidationError("\(error)") }
  }

  func run() throws {
    let chosen = try chosenAggregations()
    // The gradient, the sum and the values they are compared with.
    for count in count { try requireMemory(values: count, buffers: 4) }
    // All ranks know of faults in the files: they end in order, and one of them reports.
    let fault: (text: String, status: Int32)? = withMPI { world in
      if let fault = nameFault(world) { return (fault, 64) }
      let hosts = try HostMap(world, transport: choice(transport, for: "transport"), patience: benchPatience)
      do {
        if let input {
          try exchangeOwn(input, codec: chosen[0].codec ?? Identity(), hosts: hosts)
        } else {
          try compare(chosen, hosts: hosts)
        }
        return nil
      } catch let fault as UnusableGradients { return (fault.description, 65) }
    }
    if let fault { fail(fault.text, status: fault.status) }
  }

  /// The fault in the names of files; nil if there is none.
  private func nameFault(_ world: Communicator) -> String? {
    guard let output else { return nil }
    if world.count > 1 && !output.contains("%d") {
      return "--output \(output) is one file for \(world.count) ranks; write %d for the rank, as in sum-%d.npy"
    }
    // Every rank knows all names.
    let ranks = 0..<world.count
    return FileConflicts.faults(
      outputs: ranks.map { ("output", path(output, rank: $0)) },
      inputs: ranks.map { rank in ("input", input.map { path($0, rank: rank) }) }
    ).first
  }

  private func chosenAggregations() throws -> [AggregationRecipe] {
    let named = try (codec.isEmpty && strategy.isEmpty ? ["one-bit", "none"] : codec).map { try aggregations.make($0) }
    return try named
      + strategy.map { name in
        guard let aggregation = try strategies.make(name).aggregation else {
          throw SpecificationError("--strategy \(name) exchanges what --codec says; give that alone")
        }
        return aggregation
      }
  }

  private func compare(_ chosen: [AggregationRecipe], hosts: HostMap) throws {
    let rate = linkRate.flatMap(bitsPerSecond)
    var options = CodedAllReduce.Options()
    options.topology = try choice(topology, for: "topology")
    let benchmark = AllReduceBenchmark(hosts: hosts, options: options, iterations: iterations, linkRate: rate)
    let table = Table("all-reduce", AllReduceRow.columns, options: format)
    for count in count.isEmpty ? [1 << 16, 1 << 20, 1 << 24] : count {
      for aggregation in chosen {
        let row = try benchmark.measure(aggregation, count: count)
        if hosts.world.rank == 0 { table.row(row.cells) }
        guard row.wrong == 0 else {
          throw WrongResult(
            description: "\(row.wrong) of \(count) values are wrong with \(row.codec) (largest error \(row.maxError))")
        }
      }
    }
  }

  /// Exchanges gradients from files and writes the mean of the sums.
  private func exchangeOwn(_ pattern: String, codec: any Codec, hosts: HostMap) throws {
    let world = hosts.world
    let destination = try output.map { try FileDestination(path($0, rank: world.rank)) }
    try destination?.open()
    let ownPath = path(pattern, rank: world.rank)
    let file = try NumpyFile(from: ownPath)
    let check = GradientCheck(file, path: ownPath, codec: codec, hosts: hosts)
    try check.check()
    let gradient = try SharedGradient(count: file.values.count, hosts: hosts)
    let layout = TensorLayout([("gradient", file.shape.isEmpty ? [1] : file.shape)])
    var options = CodedAllReduce.Options()
    options.topology = try choice(topology, for: "topology")
    let exchange = try CodedAllReduce(codec, layout: layout, gradient: gradient, options: options)
    let sum = FloatBuffer(count: file.values.count)
    var mean = [Double](repeating: 0, count: file.values.count)
    for step in 0..<repetitions {
      gradient.values.copy(from: file.values)
      try exchange.run(step: step, into: .buffer(sum))
      try check.check(sum, of: exchange)
      for index in mean.indices { mean[index] += Double(sum[index]) / Double(repetitions) }
    }
    if let destination {
      for index in mean.indices { sum[index] = Float(mean[index]) }
      try NumpyFile(shape: file.shape, values: sum).write(to: destination)
    }
    if world.rank == 0 {
      writeLine(
        "\(repetitions) exchanges of \(mean.count) values with \(codec.specification) on \(world.count) ranks: "
          + "\(exchange.traffic.bytesSent / repetitions) bytes sent by rank 0 in each",
        toStandardError: destination?.isStandardOutput ?? false)
    }
  }

  private func path(_ pattern: String, rank: Int) -> String {
    pattern.replacing("%d", with: "\(rank)")
  }

  private func bitsPerSecond(_ text: String) -> Double? {
    for (unit, factor) in [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)] where text.hasSuffix(unit) {
      guard let number = Double(text.dropLast(unit.count)), number > 0, number.isFinite else { return nil }
      return number * factor
    }
    return nil
  }
}

/// A result that must not be trusted.
private struct WrongResult: Error, CustomStringConvertible {
  let description: String
}

extension NumpyFileError: ExitStatusProviding {
  /// 74 if a file could not be written, 65 if one is not what it should be.
  public var exitStatus: Int32 { isWriting ? 74 : 65 }
}

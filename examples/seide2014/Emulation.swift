import ArgumentParser
import Files
import Laboratory

/// The runs behind the tables of speed: real exchanges between emulated hosts, and ranks that sleep instead of computing.
struct Emulation: ParsableArguments {
  @Option(help: ArgumentHelp("The hidden layers of the model, whose gradient is exchanged.", valueName: "sizes"))
  var hidden = "512,512"
  @Option(help: ArgumentHelp("The rate of each host's link.", valueName: "rate")) var rate = "100mbit"
  @Option(
    help: ArgumentHelp("Steps that a figure is the median of; by default 3 to 25, as many as make a second.", valueName: "n"))
  var iterations: Int?

  func validate() throws {
    if let iterations, iterations < 1 { throw ValidationError("--iterations is at least 1, not \(iterations)") }
  }

  /// Steps of `minibatch` frames on hosts of `slices` ranks each, with `computation` seconds of computing.
  func job(
    _ name: String, minibatch: Int, hosts: Int, slices: Int = 1, computation: Double, options: [String]
  ) -> Job {
    Job(
      name: name, program: "bench", ranks: hosts * slices,
      arguments: [
        "step", "--json", "--turns", "1", "--iterations", String(iterations ?? min(max(Int(1 / computation), 3), 25)),
        "--model", "mlp:\(hidden)", "--minibatch",
        String(minibatch), "--emulated-compute", decimal(1000 * computation, digits: 3),
      ] + options, cluster: hosts > 1 ? Cluster(hosts: hosts, ranksPerHost: slices, rate: rate) : nil,
      weight: 2 + 12 * computation)
  }

  /// The differences from the paper in every table of speed.
  var setting: String {
    "The paper: 46 million parameters, InfiniBand. Here: 784-\(hidden.replacing(",", with: "-"))-10, emulated hosts on one "
      + "machine with links of \(rate), on which the exchange of floats takes about as long as in the paper. Computing is "
      + "emulated: ranks sleep as long as the paper's costs say (Table 1: T_frm 118 µs, C · T_post 9.2 ms, T_upd 9 ms). All "
      + "communication is real."
  }
}

internal import ArgumentParser
internal import MPI

struct PingPongCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ping-pong", abstract: "Latency and bandwidth of messages from Swift, beside the same loop in C.",
    discussion:
      "Run it under mpirun with two ranks or more; ranks 0 and 1 exchange them. Times are one way, medians; GB = 10⁹ bytes.")

  @Option(help: "Bytes of a message (default: 8, 1024, 65536 and 1048576).")
  var size: [Int] = []
  @Option(help: "Round trips in one measurement of small messages; large ones get fewer.")
  var iterations = 2000
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard iterations > 0, size.allSatisfy({ $0 >= 0 }) else {
      throw ValidationError("--iterations is positive, and --size not negative")
    }
  }

  func run() throws {
    let sizes = size.isEmpty ? [8, 1024, 1 << 16, 1 << 20] : size
    var isLonely = false
    withMPI { world in
      guard world.count >= 2 else {
        isLonely = true
        return
      }
      let rows = try pingPong(sizes: sizes, iterations: iterations, world: world)
      guard world.rank == 0 else { return }
      let table = Table(
        "ping-pong",
        [
          Column("bytes", "bytes", .integer), Column("p50", "Swift (µs)", .decimal(2, scale: 1e6)),
          Column("cP50", "C (µs)", .decimal(2, scale: 1e6)), Column("ratio", "Swift/C", .decimal(3)),
          Column("bandwidth", "GB/s", .decimal(2)),
        ], options: output)
      for row in rows {
        table.row([
          .integer(row.byteCount), .number(row.swiftSeconds), .number(row.cSeconds), .number(row.ratio),
          .number(row.bandwidth / 1e9),
        ])
      }
    }
    if isLonely { fail("ping-pong needs two ranks: mpirun -np 2 bench ping-pong", status: 64) }
  }
}

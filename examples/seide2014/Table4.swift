import ArgumentParser
import Files
import Laboratory

/// The frames per second of four hosts, by minibatch size, without and with double buffering.
struct Table4: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "Speed against minibatch size, without and with double buffering; on emulated hosts, as root.")

  @OptionGroup var emulation: Emulation
  @OptionGroup var telling: Telling

  /// The paper's speeds in thousands of frames per second, on 4×2 GPUs.
  private static let paper: [(minibatch: Int, plain: String, doubleBuffered: String)] = [
    (1024, "–", "15"), (2048, "23", "23"), (2880, "28", "28"), (4096, "32", "34"), (8192, "36", "39"), (16384, "38", "45"),
    (32768, "39", "47"), (65536, "44", "49"), (94208, "45", "50"),
  ]

  private static let ways: [(name: String, options: [String], isDoubleBuffered: Bool)] = [
    ("floats", ["--codec", "none", "--overlap", "off"], false),
    ("1 bit", ["--codec", "one-bit", "--overlap", "off"], false),
    ("1 bit, overlapped", ["--codec", "one-bit", "--overlap", "thread"], false),
    (
      "1 bit, double buffering", ["--codec", "one-bit", "--overlap", "thread", "--strategy", "double-buffer"], true
    ),
  ]

  /// The cost of a frame on a pair of GPUs: 12 700 frames per second, in the paper's Table 5.
  private static let pairFrame = 1 / 12.7e3
  private static let hosts = 4

  func checkRequirements() throws { try Cluster.check() }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let jobs = Self.paper.flatMap { row in
      Self.ways.map { way in
        emulation.job(
          "\(row.minibatch) frames, \(way.name)", minibatch: row.minibatch, hosts: Self.hosts,
          computation: PaperCosts.computation(
            minibatch: row.minibatch, ranks: Self.hosts, isDoubleBuffered: way.isDoubleBuffered, frame: Self.pairFrame),
          options: way.options)
      }
    }
    let seconds = try laboratory.run(jobs).map { try $0.number("p50") }
    var table = TextTable(
      "Table 4: thousands of frames a second by the size of the minibatch",
      columns: ["minibatch", "paper: 1 bit", "paper: double buffering"] + Self.ways.map(\.name))
    for (index, row) in Self.paper.enumerated() {
      let ours = seconds[index * Self.ways.count..<(index + 1) * Self.ways.count]
      table.add(
        [String(row.minibatch), row.plain, row.doubleBuffered]
          + ours.map { decimal(Double(row.minibatch) / $0 / 1000, digits: 1) })
    }
    table.notes = [
      emulation.setting,
      "The paper: 4×2 GPUs. Here: \(Self.hosts) hosts, each of which stands for a pair and takes 79 µs for a frame, as a pair did "
        + "alone, and C · T_post / \(Self.hosts) + T_upd for an update. Overlapped: the exchange begins with the first tensor of "
        + "the backward pass and nothing is delayed; the paper has no such row.",
    ]
    return [table]
  }
}

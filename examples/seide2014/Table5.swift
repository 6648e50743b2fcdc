import ArgumentParser
import Files
import Laboratory

/// The frames per second of K models, each split over P ranks.
struct Table5: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "Speed of data parallelism times model parallelism; on emulated hosts, as root.")

  @OptionGroup var emulation: Emulation
  @OptionGroup var telling: Telling

  /// K × P.
  private struct Grid {
    let ranks: Int
    let slices: Int
    /// The paper's speeds in thousands of frames per second on its farm, for each minibatch size.
    let paper: [String]

    var name: String { "\(ranks)×\(slices)" }
    /// A single model has nothing to exchange, and nothing to hide.
    var isDoubleBuffered: Bool { ranks > 1 }
  }

  private static let minibatches = [2880, 16384]
  private static let grids = [
    Grid(ranks: 1, slices: 1, paper: ["7.5", "8.2"]), Grid(ranks: 1, slices: 2, paper: ["11.7", "12.7"]),
    Grid(ranks: 4, slices: 2, paper: ["26.9", "42.3"]), Grid(ranks: 8, slices: 1, paper: ["26.9", "51.6"]),
    Grid(ranks: 8, slices: 2, paper: ["34.8", "72.5"]), Grid(ranks: 16, slices: 1, paper: ["30.2", "77.9"]),
  ]

  func checkRequirements() throws { try Cluster.check() }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let jobs = Self.grids.flatMap { grid in
      Self.minibatches.map { minibatch in
        emulation.job(
          "\(grid.name), \(minibatch) frames", minibatch: minibatch, hosts: grid.ranks, slices: grid.slices,
          computation: computation(grid, minibatch),
          options: ["--codec", "one-bit"] + (grid.slices > 1 ? ["--model-parallel", String(grid.slices)] : [])
            + (grid.isDoubleBuffered ? ["--overlap", "thread", "--strategy", "double-buffer"] : []))
      }
    }
    let seconds = try laboratory.run(jobs).map { try $0.number("p50") }
    func speed(_ minibatch: Int, _ seconds: Double) -> String { decimal(Double(minibatch) / seconds / 1000, digits: 1) }
    var table = TextTable(
      "Table 5: thousands of frames a second of K models, each split over P ranks",
      columns: ["K×P"] + Self.minibatches.flatMap { ["paper, N = \($0)", "N = \($0)", "without communication"] })
    for (index, grid) in Self.grids.enumerated() {
      table.add(
        [grid.name]
          + Self.minibatches.indices.flatMap { column in
            let minibatch = Self.minibatches[column]
            return [
              grid.paper[column], speed(minibatch, seconds[index * Self.minibatches.count + column]),
              speed(minibatch, computation(grid, minibatch)),
            ]
          })
    }
    table.notes = [
      emulation.setting,
      "K hosts of P ranks, 1 bit and double buffering where K > 1. A rank sleeps (N · T_frm + C · T_post)/(K · P) + T_upd/P, the "
        + "latter twice with double buffering. The slices of a model exchange activations and deltas through the memory of "
        + "their host, where the paper's went from GPU to GPU: its second GPU was 55 % efficient. The paper's model, which "
        + "leaves out how ranks share a server, is optimistic (for 8×1 it says 63 000 frames a second without double "
        + "buffering where 51 600 were measured).",
    ]
    return [table]
  }

  private func computation(_ grid: Grid, _ minibatch: Int) -> Double {
    PaperCosts.computation(
      minibatch: minibatch, ranks: grid.ranks, slices: grid.slices, isDoubleBuffered: grid.isDoubleBuffered)
  }
}

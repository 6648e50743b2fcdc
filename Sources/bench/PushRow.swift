internal import Collectives
internal import Files
internal import MPI
internal import Strategies
internal import Trainer
import Transport

/// The row of `bench step` for a strategy whose owners apply gradients as they come.
struct PushRow {
  private(set) var entries: [(Column, Cell)] = []

  /// Summarizes turns: medians, and the loads of owners over all of them.
  init(_ benchmark: PushBenchmark, _ turns: [PushBenchmark.Turn]) {
    let grid = benchmark.grid
    add(Column("ranks", "ranks", .integer), .integer(grid.all.world.count))
    add(Column("hosts", "hosts", .integer), .integer(grid.all.hostCount))
    add(Column("pushesPerSecond", "pushes/s", .decimal(2)), .number(turns.map(\.pushesPerSecond).percentile()))
    let limits = turns.compactMap(\.limit)
    let ratios = turns.compactMap { turn in turn.limit.map { turn.pushesPerSecond / $0 } }
    add(Column("linkLimit", "link's limit/s", .decimal(2)), limits.isEmpty ? .nothing : .number(limits.percentile()))
    add(Column("ratio", "of the limit", .decimal(3)), ratios.isEmpty ? .nothing : .number(ratios.percentile()))
    add(Column("computing", "computing (%)", .decimal(1, scale: 100)), .number(turns.map(\.computing).percentile()))
    let (pushes, up, down) = (sums(turns, \.pushes), sums(turns, \.pushBytes), sums(turns, \.answerBytes))
    let (pushCount, values) = (Double(pushes.max() ?? 0), Double(benchmark.parameterCount))
    let (bytesUp, bytesDown) = (Double(up.reduce(0, +)) / pushCount, Double(down.reduce(0, +)) / pushCount)
    add(Column("bytesUp", "bytes up a push", .integer), .integer(Int(bytesUp.rounded())))
    add(Column("bytesUpPerValue", "a value", .decimal(4)), .number(bytesUp / values))
    add(Column("bytesDown", "bytes down", .integer), .integer(Int(bytesDown.rounded())))
    add(Column("bytesDownPerValue", "a value", .decimal(4)), .number(bytesDown / values))
    add(Column("byteSpread", "spread of bytes (%)", .decimal(2)), .number(spread(zip(up, down).map(+))))
    add(Column("pushSpread", "of pushes (%)", .decimal(2)), .number(spread(pushes)))
    text("ownerBytes", "bytes by owner", zip(up, down).map { String($0 + $1) }.joined(separator: " "))
    text("ownerPushes", "pushes by owner", pushes.map(String.init).joined(separator: " "))
    text("ratios", "of the limit in each turn", ratios.map { decimal($0, digits: 3) }.joined(separator: " "))
  }

  /// Adds the settings of the measurement.
  mutating func addSetting(strategy: String, codec: String, model: String, emulatedCompute: Double?) {
    text("strategy", "strategy", strategy)
    text("computation", "computation", emulatedCompute.map { "emulated, \(decimal($0, digits: 1)) ms a push" } ?? "real")
    text("codec", "codec", codec)
    text("model", "model", model)
  }

  /// The sums over turns, by rank.
  private func sums(_ turns: [PushBenchmark.Turn], _ field: KeyPath<PushBenchmark.Turn, [Int]>) -> [Int] {
    turns.reduce([]) { sum, turn in turn[keyPath: field].enumerated().map { ($0 < sum.count ? sum[$0] : 0) + $1 } }
  }

  /// How far the largest and the smallest load are apart, in per cent of the mean.
  private func spread(_ loads: [Int]) -> Double {
    let mean = Double(loads.reduce(0, +)) / Double(loads.count)
    return mean > 0 ? 100 * Double(loads.max()! - loads.min()!) / mean : 0
  }

  private mutating func add(_ column: Column, _ cell: Cell) { entries.append((column, cell)) }

  /// Adds a text column that is wide enough for its value.
  private mutating func text(_ key: String, _ title: String, _ value: String) {
    add(Column(key, title + String(repeating: " ", count: max(0, value.count - title.count))), .text(value))
  }
}

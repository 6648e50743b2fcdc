internal import Collectives
internal import Files
internal import MPI
internal import Strategies
internal import Trainer
import Transport

/// The row of `bench step`; its columns depend on what was measured.
struct StepRow {
  private(set) var entries: [(Column, Cell)] = []

  private static let milliseconds = Column.Format.decimal(2, scale: 1e3)

  /// Summarizes the measurements.
  ///
  /// Collective.
  init(_ benchmark: StepBenchmark, forwardRepetitions: Int) throws {
    let setting = benchmark.setting
    let rankCount = benchmark.grid.all.world.count
    let whole = try benchmark.slowestTimes(.whole)
    func median(_ times: [StepBenchmark.Times], _ field: KeyPath<StepBenchmark.Times, Double>) -> Double {
      times.map { $0[keyPath: field] }.percentile()
    }
    let total = try benchmark.secondsPerExchange(.whole)
    let schedule = setting.strategy.schedule
    let step = total * Double(schedule.exchangesInStep) / Double(schedule.stepsPerExchange)
    integer("ranks", "ranks", rankCount)
    integer("hosts", "hosts", benchmark.grid.all.hostCount)
    // The key that files have had from the beginning.
    if benchmark.grid.sliceCount > 1 { integer("stripes", "slices", benchmark.grid.sliceCount) }
    time("p50", "step (ms)", step)
    add(Column("stepsPerSecond", "steps/s", .decimal(2)), .number(1 / step))
    let compute = median(whole, \.compute)
    let forward =
      setting.emulatedCompute == nil ? min(try benchmark.forwardSeconds(repetitions: forwardRepetitions), compute) : nil
    time("forward", "forward (ms)", forward)
    time("backward", "backward (ms)", forward.map { compute - $0 })
    if schedule.stepsPerExchange > 1 {
      integer("stepsPerExchange", "steps of an exchange", schedule.stepsPerExchange)
      add(Column("computing", "computing (%)", .decimal(1)), .number(100 * compute / total))
    }
    time("exposed", "exposed (ms)", median(whole, \.exposed))
    time("waiting", "waiting (ms)", median(whole, \.waiting))
    time("update", "update (ms)", median(whole, \.update))
    guard rankCount > 1 else { return }
    let computation = try benchmark.slowestTimes(.computation)
    let communication = try benchmark.slowestTimes(.communication)
    let exchange = OverlapMeasurement(
      total: total, compute: try benchmark.secondsPerExchange(.computation),
      communication: median(communication, \.exposed))
    time("compute", "t_compute (ms)", exchange.compute)
    time("communication", "t_pure (ms)", exchange.communication)
    time("total", "t_total (ms)", exchange.total)
    percentage("overlap", "overlap (%)", exchange)
    time("agreement", "agreement (ms)", median(communication, \.agreement))
    percentage(
      "overlapWithAgreement", "with agreement (%)",
      OverlapMeasurement(
        total: exchange.total, compute: median(computation, \.withoutAgreement),
        communication: median(communication, \.total)))
    integer("bytesLeavingHost", "leaving a host", try benchmark.bytesLeavingHost())
    text("drivenBy", "driven by", benchmark.overlap.rawValue)
    let exchanging = benchmark.grid.dataGroup
    let isHierarchical = exchanging.routes(setting.options.topology).parties.count < exchanging.world.count
    text("topology", "topology", isHierarchical ? "hierarchical" : "flat")
  }

  /// Adds the settings of the measurement.
  mutating func addSetting(strategy: String, codec: String, model: String, emulatedCompute: Double?) {
    text("strategy", "strategy", strategy)
    text("computation", "computation", emulatedCompute.map { "emulated, \(decimal($0, digits: 1)) ms a step" } ?? "real")
    text("codec", "codec", codec)
    text("model", "model", model)
  }

  /// Adds the comparison with another program.
  mutating func addPeer(_ name: String, _ turnSeconds: [(own: Double, peer: Double)], iterations: Int) {
    let ratios = turnSeconds.map { $0.own / $0.peer }
    time("peerP50", "peer (ms)", turnSeconds.map { $0.peer / Double(iterations) }.percentile())
    add(Column("ratio", "own/peer", .decimal(3)), .number(ratios.percentile()))
    text("peer", "peer", name)
    text("ratios", "own/peer of each turn", ratios.map { decimal($0, digits: 3) }.joined(separator: " "))
  }

  private mutating func add(_ column: Column, _ cell: Cell) { entries.append((column, cell)) }

  private mutating func percentage(_ key: String, _ title: String, _ overlap: OverlapMeasurement) {
    add(Column(key, title, .decimal(1)), overlap.percentage.map { .number($0) } ?? .nothing)
  }

  private mutating func integer(_ key: String, _ title: String, _ value: Int) {
    add(Column(key, title, .integer), .integer(value))
  }

  private mutating func time(_ key: String, _ title: String, _ seconds: Double?) {
    add(Column(key, title, StepRow.milliseconds), seconds.map { .number($0) } ?? .nothing)
  }

  /// Adds a text column that is wide enough for its value.
  private mutating func text(_ key: String, _ title: String, _ value: String) {
    add(Column(key, title + String(repeating: " ", count: max(0, value.count - title.count))), .text(value))
  }
}

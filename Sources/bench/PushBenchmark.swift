internal import Buffers
internal import Collectives
internal import MPI
internal import PointToPoint
internal import Reporting
internal import Strategies
internal import Trainer
import Transport

/// Steps of a strategy whose owners apply gradients as they come, without meetings in between, beside what the links carry.
///
/// Every turn measures both, so that what disturbs one disturbs the other.
final class PushBenchmark {
  /// What all ranks did in one turn.
  struct Turn {
    /// Pushes per second of the slowest owner, while all workers are at work.
    var pushesPerSecond: Double
    /// The same if the links of the busiest host did nothing but carry its messages; nil on one host.
    var limit: Double?
    /// The share of their time in which workers computed.
    var computing: Double
    /// By rank, what its shard had: pushes, and bytes of pushes and answers.
    var pushes: [Int]
    var pushBytes: [Int]
    var answerBytes: [Int]
  }

  /// The pieces of 48 KB in a measurement of the links: a quarter of a second at 100 Mbit/s.
  private static let linkPieces = 64

  let setting: StepSetting
  let grid: RankGrid
  /// The parameters of the model.
  let parameterCount: Int
  private let steps: Steps

  /// Prepares this rank; collective.
  init(_ setting: StepSetting, world: Communicator) throws {
    self.setting = setting
    let (parts, samples) = try setting.parts(on: world)
    (grid, parameterCount) = (parts.grid, parts.parameters.count)
    steps = try Steps(setting.strategy(parts), parts, samples)
  }

  /// Does `count` steps up to a meeting; collective.
  func run(count: Int) throws -> Turn {
    let link = try LinkSpeed.measured(between: grid.all, pieces: PushBenchmark.linkPieces)
    let computedBefore = steps.times.compute
    do {
      try grid.all.meet("a measurement")
      try steps.advance(by: count)
    } catch {
      steps.abandon()
      throw error
    }
    guard let service = steps.service else { fatalError("only owners of shards take pushes") }
    let rankCount = grid.all.world.count
    let own = [
      service.pushesPerSecond(aside: rankCount) ?? 0, steps.times.compute - computedBefore, service.seconds,
      Double(service.pushTimes.count), Double(service.pushByteCount), Double(service.answerByteCount),
      Double(service.bytesLeavingHost),
    ]
    let all = try grid.all.enter("a result") { try grid.all.world.allGather(own) }
    func column(_ index: Int) -> [Double] { (0..<rankCount).map { all[$0 * own.count + index] } }
    let pushCount = column(3)[0]
    let byHost = Dictionary(grouping: 0..<rankCount) { grid.all.leaders[$0] }
    let busiest = byHost.values.map { $0.reduce(0) { $0 + column(6)[$1] } }.max() ?? 0
    return Turn(
      pushesPerSecond: column(0).min() ?? 0, limit: link.map { $0.bytesPerSecond * pushCount / busiest },
      computing: column(1).reduce(0, +) / column(2).reduce(0, +), pushes: column(3).map { Int($0) },
      pushBytes: column(4).map { Int($0) }, answerBytes: column(5).map { Int($0) })
  }
}

internal import Checkpoints
package import Files
internal import Foundation
internal import PointToPoint
internal import Reporting

/// What happened between two meetings, as a line of a record: the orders in which the owners of shards applied pushes, or what each
/// worker did if they average in pairs.
package struct EventLine: MetricsEvent, Hashable, Codable {
  /// The first minibatch of the segment, and the end of all.
  var first: Int
  var end: Int
  /// The end of all up to the planned meeting, if a stop came before it.
  var planned: Int?
  /// By shard, the workers in the order of their pushes; −1 − w for the news that worker w was done; empty for ranks without a shard.
  var orders: [[Int]]
  /// The ranks that own shards, unless all do.
  var owners: [Int]?
  /// By worker, the minibatches whose gradients it applied; −1 − w before them where it averaged with worker w, which had asked.
  var steps: [[Int]]?

  package var json: JSONValue {
    let rest = [("orders", orders)] + (steps.map { [("steps", $0)] } ?? [])
    return .object(
      [.init("first", .integer(first)), .init("end", .integer(end))] + (planned.map { [.init("planned", .integer($0))] } ?? [])
        + (owners.map { [.init("owners", .integers($0))] } ?? [])
        + rest.map { .init($0.0, .array($0.1.map(JSONValue.integers))) })
  }
}

extension EventLine {
  /// Whether all shards have had as many pushes, one at least and no more than there are minibatches.
  fileprivate var hasEqualOrders: Bool {
    let (pushes, owners) = (orders.map { $0.count { $0 >= 0 } }, owners ?? Array(orders.indices))
    guard let first = owners.first, owners == owners.sorted(), owners.allSatisfy(pushes.indices.contains) else { return false }
    return (1...end - self.first).contains(pushes[first])
      && pushes.indices.allSatisfy { pushes[$0] == (owners.contains($0) ? pushes[first] : 0) }
  }
}

/// A record of the orders of an asynchronous run, which another run can follow.
///
/// The file holds a line for each time between two meetings: `{"first":0,"end":400,"orders":[[1,0,…],…]}`, or with `steps` for pairs.
package struct EventRecord: Sendable {
  let name: String
  /// The ranks that own shards; nil if all do.
  let owners: [Int]?
  private let lines: [Int: EventLine]

  /// Reads a record; throws `TrainingError` with the line that is wrong.
  package init(_ name: String) throws {
    self.name = name
    var lines: [Int: EventLine] = [:]
    let bytes = try InputFile.bytes(of: name)
    for (number, text) in bytes.split(separator: 10).enumerated() {
      guard let line = try? JSONDecoder().decode(EventLine.self, from: Data(text)), line.first >= 0, line.end > line.first,
        line.planned ?? line.end >= line.end, line.steps != nil || line.hasEqualOrders
      else {
        throw TrainingError(
          "--replay \(name): line \(number + 1) is not one of a record that --record writes", exitStatus: .configuration)
      }
      lines[line.first] = line
    }
    guard let line = lines.first?.value else {
      throw TrainingError("--replay \(name) holds no events", exitStatus: .configuration)
    }
    guard lines.values.allSatisfy({ $0.owners == line.owners }) else {
      throw TrainingError(
        "--replay \(name) has several runs, in which other ranks own shards: replay one of them", exitStatus: .configuration)
    }
    owners = line.owners
    self.lines = lines
  }

  /// The minibatches that the recorded run did from the first of `minibatches` on until it met, which may be before the last of them,
  /// those that it had planned to do, and the order of shard `shard`; for workers with `settings` on `shardCount` ranks.
  func order(
    of minibatches: Range<Int>, shard: Int, shardCount: Int, _ settings: ParameterServer.Settings
  ) throws -> (minibatches: Range<Int>, planned: Range<Int>, order: [Int]) {
    let (first, workerCount) = (minibatches.lowerBound, settings.workerCount)
    let line = try line(of: minibatches, workerCount: workerCount)
    let ofOwner = line.orders.first { !$0.isEmpty } ?? []
    let workers = Set(ofOwner.filter { $0 < 0 })
    guard line.orders.count == shardCount, workers == Set((0..<workerCount).map { -1 - $0 }) else {
      throw TrainingError(
        "--replay \(name) comes from \(counted(line.orders.count, "rank")) and \(counted(workers.count, "worker")); this run has "
          + "\(shardCount) and \(workerCount)",
        exitStatus: .configuration)
    }
    let (done, planned) = (first..<line.end, first..<(line.planned ?? line.end))
    let (pushes, ownPushes) = (ofOwner.count { $0 >= 0 }, settings.pushCount(of: planned, upTo: line.end))
    guard pushes == ownPushes else {
      throw TrainingError(
        "--replay \(name) has \(pushes) pushes of minibatches \(first + 1) to \(line.end), where this run has \(ownPushes): "
          + "give the options of the run that was recorded",
        exitStatus: .configuration)
    }
    return (done, planned, line.orders[shard])
  }

  /// The line of what was done from the first of `minibatches` on, in steps of `workerCount`.
  func line(of minibatches: Range<Int>, workerCount: Int) throws -> EventLine {
    guard let line = lines[minibatches.lowerBound], line.end <= minibatches.upperBound, line.end % workerCount == 0 else {
      throw TrainingError(
        "--replay \(name) holds no events of minibatches \(minibatches.lowerBound + 1) to \(minibatches.upperBound): give the options of "
          + "the run that was recorded",
        exitStatus: .configuration)
    }
    return line
  }
}

import Foundation
import MPI
import _TestSupport

/// All ranks that run the tests.
var world: Communicator { World.communicator }

/// A directory for one test, the same on all ranks of a communicator, removed at the end.
final class TemporaryDirectory {
  let path: String
  private let group: Communicator

  init(on group: Communicator) throws {
    self.group = group
    var token = [UInt64.random(in: 0 ... .max)]
    try group.broadcast(&token, root: 0)
    path = NSTemporaryDirectory() + "morse-test-" + String(token[0], radix: 16)
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try group.barrier()
  }

  deinit {
    if group.rank == 0 { try? FileManager.default.removeItem(atPath: path) }
  }

  /// The names in the directory, or in one below it, once every rank has come here and until every rank has looked.
  func names(in name: String = "") throws -> [String] {
    try group.barrier()
    defer { try? group.barrier() }
    return try FileManager.default.contentsOfDirectory(atPath: "\(path)/\(name)").sorted()
  }

  /// Does something to the directory on rank 0, while the others wait.
  func change(_ work: () throws -> Void) throws {
    try group.barrier()
    if group.rank == 0 { try work() }
    try group.barrier()
  }
}

internal import Buffers
package import Checkpoints
internal import Files
internal import Foundation
internal import MPI
package import Strategies

/// Verifies that all ranks run the same program with the same options on the same data, before hours are wasted.
///
/// The error names the difference and the rank that differs from most. Every function is collective.
package struct StartCheck {
  let agreement: Agreement

  /// A check over the ranks of `agreement`.
  package init(agreement: Agreement) { self.agreement = agreement }

  /// Compares the executables of all ranks, which are read once in a process.
  package func program() throws { try compare("runs another program", [("file", Self.programHash)]) }

  private static let programHash = Bundle.main.executablePath.flatMap { try? File.hash($0).hash } ?? 0

  /// Compares the options, one by one.
  package func options(_ options: TrainerOptions) throws {
    let texts = options.texts
    try compare(
      "has other options",
      TrainerOptions.fields.map { ("--\($0.name)", XXHash64.hash(texts[$0.name] ?? "")) })
  }

  /// Compares the contents of the data.
  func data(_ fingerprint: UInt64) throws { try compare("has other data", [("contents", fingerprint)]) }

  /// Compares the distribution of the data to clients.
  func clients(_ fingerprint: UInt64?) throws { try compare("has other data", [("clients", fingerprint ?? 0)]) }

  /// Compares named hashes; throws on all ranks if a rank's differ.
  ///
  /// - Communication: A record from each rank to each other for every seven names.
  private func compare(_ verdict: String, _ hashes: [(name: String, hash: UInt64)]) throws {
    let world = agreement.world
    guard world.count > 1 else { return }
    let names = try agreement.gather([UInt64(hashes.count)])
    let isSameList = names.allSatisfy { $0 == names[0] }
    let own = isSameList ? hashes.map(\.hash) : [UInt64(hashes.count)]
    let all = try agreement.gather(own)
    for index in own.indices {
      let values = (0..<world.count).map { all[$0][index] }
      guard let odd = dissenters(among: values).first else { continue }
      let what = hashes.count > 1 && isSameList ? " (\(hashes[index].name))" : ""
      let host = try agreement.share(world.rank == odd ? world.processorName : nil, from: odd)
      throw TrainingError(
        "rank \(odd) on \(host) \(verdict)\(what) than most; start all ranks with the same program, options and data",
        exitStatus: .configuration)
    }
  }
}

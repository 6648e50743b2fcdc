package import Collectives
internal import Files
package import Transport

/// Where the ranks of a job are, and which of them sum their gradients as floats before they encode.
///
/// Only the latter affects the model: with the same parties, the same ranks give the same bits wherever they are, over shared
/// memory or messages. Ranks are those of the grid.
public struct Placement: Decodable, Hashable, Sendable {
  /// The host of each rank.
  public let hosts: [String]
  /// The parties of the exchange with more than one rank, in the order of their first ranks; empty if it is flat.
  public let parties: [[Int]]

  /// Ranks on these hosts.
  init(hosts: [String], parties: [[Int]]) { (self.hosts, self.parties) = (hosts, parties) }

  /// The placement of the ranks of `grid`, whose exchange has the topology `topology`.
  ///
  /// Not collective.
  package init(of grid: RankGrid, topology: Topology) {
    let all = grid.all
    var parties: [[Int]] = []
    // The ranks that hold one slice of the model have their own exchange.
    for slice in 0..<grid.sliceCount {
      let ranks = Array(stride(from: slice, to: all.hostNames.count, by: grid.sliceCount))
      let hosts = Dictionary(grouping: ranks) { all.leaders[$0] }.values.map { $0.sorted() }
      guard topology != .flat, hosts.count > 1 else { continue }
      parties += hosts.filter { $0.count > 1 }
    }
    self.init(hosts: all.hostNames, parties: parties.sorted { $0[0] < $1[0] })
  }

  /// The warning when a run that was saved in the placement `saved` resumes here.
  ///
  /// Nil if the model stays bit-identical, or if the numbers of ranks differ anyway.
  package func warning(after saved: Placement?) -> String? {
    guard let saved, saved.hosts.count == hosts.count, saved.parties != parties else { return nil }
    return "the ranks are placed otherwise than those that saved the checkpoint: then \(saved.words), now \(words); "
      + "bit for bit, the model will not be that of an unbroken run"
  }

  /// Its form in a checkpoint's record.
  var json: JSONValue {
    [
      "hosts": .array(hosts.map { .string($0) }), "topology": parties.isEmpty ? "flat" : "hierarchical",
      "parties": .array(parties.map { .integers($0) }),
    ]
  }

  /// Which ranks sum together.
  private var words: String {
    guard !parties.isEmpty else { return "every rank encoded by itself" }
    let list = parties.map { "\($0.map(String.init).joined(separator: "+")) on \(hosts[$0[0]])" }
    return "ranks added up on their hosts (\(list.joined(separator: ", ")))"
  }
}

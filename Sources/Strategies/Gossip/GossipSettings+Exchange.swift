internal import Buffers
internal import Checkpoints
internal import Codecs
internal import Collectives
internal import Files
internal import MPI
internal import PointToPoint
internal import Transport

extension GossipSettings {
  /// What `workerCount` workers do; reads the file of the graph if there is one.
  ///
  /// Collective.
  func exchange(_ parts: StrategyParts, workerCount: Int) throws -> GossipExchange.Settings {
    let codec = parts.aggregation.codec ?? Identity()
    let method: GossipExchange.Method =
      switch self.method {
      case .mixing: .mixing(try matrix(parts, workerCount: workerCount))
      case .compressed:
        .compressedMixing(try matrix(parts, workerCount: workerCount), codec: codec, gamma: gamma(with: codec))
      case .pushSum:
        switch targets {
        case .onePeer: .pushSum(.onePeer)
        case .random: .pushSum(.random)
        case .neighbours: .pushSum(.graph(try matrix(parts, workerCount: workerCount).graph))
        }
      case .outerPairs: .outerPairs(every: steps, outerStep)
      }
    var settings = GossipExchange.Settings(method, workerCount: workerCount, combinesFirst: order == .combineFirst)
    settings.seed = parts.options.seed
    return settings
  }

  /// The weights of the graph.
  ///
  /// Collective: rank 0 reads a file for all.
  private func matrix(_ parts: StrategyParts, workerCount: Int) throws -> MixingMatrix {
    switch graph {
    case .ring: return MixingMatrix(metropolis: GossipGraph(.ring, count: workerCount))
    case .exponential: return MixingMatrix(metropolis: GossipGraph(.exponential, count: workerCount))
    case .complete: return MixingMatrix(metropolis: GossipGraph(.complete, count: workerCount))
    case .torus: return MixingMatrix(metropolis: GossipGraph(torusOf: workerCount))
    case .file(let name):
      let text = try text(of: name, over: parts.grid.all)
      do { return try MixingMatrix(text: text, workerCount: workerCount) } catch {
        throw TrainingError("--strategy: graph \(name): \(error)", exitStatus: .configuration)
      }
    }
  }

  /// The text of a file that rank 0 reads.
  private func text(of name: String, over hosts: HostMap) throws -> String {
    var (text, failure) = ("", "")
    if hosts.world.rank == 0 {
      do { text = String(decoding: try InputFile.bytes(of: name, limit: 1 << 24), as: UTF8.self) } catch {
        failure = "\(error)"
      }
    }
    let answers = try hosts.enter("reading the graph") {
      try [failure, text].map { try hosts.world.broadcast(varying: Array($0.utf8)) }
    }.map { String(decoding: $0, as: UTF8.self) }
    guard answers[0].isEmpty else {
      throw TrainingError(
        "--strategy: graph is ring, torus, exponential, complete or a file of edges: \(answers[0])", exitStatus: .inputOutput)
    }
    return answers[1]
  }
}

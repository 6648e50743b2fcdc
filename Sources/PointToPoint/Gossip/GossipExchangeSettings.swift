internal import Buffers
package import Codecs

extension GossipExchange {
  /// How workers make their models alike.
  package enum Method: Sendable {
    /// Weighted means of models (D-PSGD).
    case mixing(MixingMatrix)
    /// Weighted means of public copies, which codes change (CHOCO-SGD).
    case compressedMixing(MixingMatrix, codec: any Codec, gamma: Double)
    /// Shares of models and of weights, pushed to others (SGP).
    case pushSum(GossipRoutes.Kind)
    /// Random pairs every few steps, with an outer step (NoLoCo).
    case outerPairs(every: Int, OuterPairStep)
  }

  /// What workers do.
  package struct Settings: Sendable {
    /// How they make their models alike.
    package var method: Method
    /// Their number.
    package var workerCount: Int
    /// Whether a worker mixes the models from before a step and then applies the gradient, so that messages travel while it is computed;
    /// otherwise models are mixed that have the gradient of the step.
    package var combinesFirst: Bool
    /// The seed of whom workers send to, and of random codes.
    package var seed: UInt64 = 1

    /// Workers that do this.
    package init(_ method: Method, workerCount: Int, combinesFirst: Bool) {
      (self.method, self.workerCount, self.combinesFirst) = (method, workerCount, combinesFirst)
    }

    /// Who sends to whom, and the arithmetic.
    func parts(_ workers: RankWorkers, _ layout: TensorLayout) -> (routes: GossipRoutes, rule: any GossipRule) {
      func routes(_ kind: GossipRoutes.Kind) -> GossipRoutes { GossipRoutes(kind, count: workerCount, seed: seed) }
      switch method {
      case .mixing(let matrix):
        return (routes(.graph(matrix.graph)), ModelMixing(workers, count: layout.count, matrix: matrix))
      case .compressedMixing(let matrix, let codec, let gamma):
        let rule = CompressedMixing(workers, layout: layout, matrix: matrix, codec: codec, gamma: gamma, seed: seed)
        return (routes(.graph(matrix.graph)), rule)
      case .pushSum(let kind):
        return (routes(kind), PushSum(workers, count: layout.count, routes: routes(kind)))
      case .outerPairs(let every, let step):
        let routes = routes(.pairs(every: every))
        return (routes, OuterPairs(workers, count: layout.count, routes: routes, step: step))
      }
    }
  }
}

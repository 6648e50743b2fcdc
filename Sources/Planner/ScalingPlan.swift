public import Codecs
public import Collectives
internal import Strategies

/// How fast a run is predicted to be, for each step variant and number of ranks, and which to choose.
public struct ScalingPlan: Sendable {
  /// The K̂ of a codec.
  public struct SaturationRow: Sendable {
    /// The codec's specification.
    public var codec: String
    /// How many times smaller than floats it makes a gradient.
    public var ratio: Double
    /// K̂ without and with double buffering; nil if no network costs are known, or if such a step is impossible.
    public var plain: ScalingModel.Saturation?
    public var doubleBuffered: ScalingModel.Saturation?
  }

  /// What is planned, in words: the model, the data, the samples of a step.
  public var subject: String
  /// Samples of a step over all ranks.
  public var minibatch: Int
  /// Lines with the costs and their origin.
  public var costs: [(name: String, text: String)]
  /// The paper's model; nil if no network costs are known.
  public var model: ScalingModel?
  /// K̂ by codec.
  public var saturation: [SaturationRow]
  /// The predictions, by variant, each by rank count.
  public var predictions: [StepPrediction]
  /// Seconds of a step on one rank.
  public var oneRankSeconds: Double
  /// The pace in step and out of step, on the ranks that are recommended; nil if no gradients were measured.
  public var pace: PaceComparison?
  /// The rank count that the recommendation is for; nil to find the most ranks that pay.
  public var ranks: Int?

  /// The rank counts to predict: powers of two, and those requested.
  public static func rankCounts(with others: [Int]) -> [Int] {
    Set((0...14).map { 1 << $0 } + others).sorted()
  }

  /// Predicts all step variants with `aggregations`, from measured or given costs, and those of `strategy` besides if it is given.
  ///
  /// - Throws: `SpecificationError` and `SketchError` if one is not possible for this number of parameters.
  public init(
    _ predictor: StepPredictor, aggregations: [AggregationRecipe], subject: String, costs: [(name: String, text: String)],
    ranks: Int?, strategy: PlannedStrategy? = nil
  ) throws {
    self.subject = subject
    self.costs = costs
    self.ranks = ranks
    minibatch = predictor.minibatch
    oneRankSeconds = predictor.oneRankSeconds
    let model = predictor.scalingModel
    self.model = model
    saturation = try aggregations.map { aggregation in
      let ratio = try predictor.ratio(of: aggregation)
      return SaturationRow(
        codec: aggregation.specification, ratio: ratio, plain: model?.saturation(ratio: ratio, isDoubleBuffered: false),
        doubleBuffered: predictor.sharedChannelCounts.isEmpty ? model?.saturation(ratio: ratio, isDoubleBuffered: true) : nil)
    }
    let others = [strategy].compactMap(\.self).filter { $0.schedule.stepsPerExchange > 1 }
    let topologies: [PlanTopology] = predictor.costs.ranksPerHost > 1 ? [.flat, .hierarchical] : [.flat]
    predictions = []
    for aggregation in aggregations {
      for topology in topologies where topology == .flat || aggregation.capabilities.isHierarchical {
        for strategy in PlannedStrategy.compared + others {
          for count in ScalingPlan.rankCounts(with: ranks.map { [$0] } ?? []) {
            let prediction = try predictor.predict(
              aggregation, ranks: count, topology: topology, strategy: strategy)
            // On one host both topologies are the same.
            guard let prediction, prediction.variant.topology == topology else { continue }
            predictions.append(prediction)
          }
        }
      }
    }
  }

  /// Predicts from the paper's model alone, with the compression of `codecs` on long groups.
  public init(_ model: ScalingModel, codecs: [any Codec], costs: [(name: String, text: String)], ranks: Int?) {
    subject = "the model of Seide et al. 2014"
    self.costs = costs
    self.ranks = ranks
    self.model = model
    minibatch = model.minibatch
    oneRankSeconds = model.minibatchSeconds(ranks: 1, ratio: 1, isDoubleBuffered: false)
    saturation = []
    predictions = []
    for codec in codecs {
      let ratio = codec.nominalRatio
      saturation.append(
        SaturationRow(
          codec: codec.specification, ratio: ratio, plain: model.saturation(ratio: ratio, isDoubleBuffered: false),
          doubleBuffered: model.saturation(ratio: ratio, isDoubleBuffered: true)))
      for variant in PlannedStrategy.compared.map({ StepVariant(codec: codec.specification, strategy: $0) }) {
        for count in ScalingPlan.rankCounts(with: ranks.map { [$0] } ?? []) where count <= minibatch {
          predictions.append(
            StepPrediction(
              variant: variant, ranks: count, hosts: count,
              seconds: model.minibatchSeconds(ranks: count, ratio: ratio, isDoubleBuffered: variant.isDoubleBuffered),
              computeSeconds: Double(model.minibatch) * model.frameSeconds / Double(count),
              exchangeSeconds: count == 1 ? 0 : model.floatExchangeSeconds / ratio, bytesSent: 0, messages: 0))
        }
      }
    }
  }

  /// The variants, in display order.
  public var variants: [StepVariant] {
    var seen: Set<StepVariant> = []
    return predictions.map(\.variant).filter { seen.insert($0).inserted }
  }

  /// The prediction for a variant and a rank count.
  public func prediction(_ variant: StepVariant, ranks: Int) -> StepPrediction? {
    predictions.first { $0.variant == variant && $0.ranks == ranks }
  }

  /// How many times faster the predicted step is than one rank's.
  public func speedUp(_ prediction: StepPrediction) -> Double { oneRankSeconds / prediction.seconds }
}

extension Codec {
  /// How many times smaller than floats the codec makes a group so long that the size of its statistics is negligible.
  package var nominalRatio: Double {
    let count = 1 << 40
    return Double(4 * count) / Double(encodedByteCount(of: count))
  }
}

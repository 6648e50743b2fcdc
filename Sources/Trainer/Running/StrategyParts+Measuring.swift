internal import Buffers
internal import Collectives
package import Networks
internal import Optimizers
package import Strategies
package import Transport

extension StrategyParts {
  /// The parts of a run that is measured, not trained: initial parameters, the optimizer of the options.
  ///
  /// - Parameters:
  ///   - recipe: The recipe of the options.
  ///   - options: The options of the run.
  ///   - network: Its network.
  ///   - sampleCount: The number of training samples.
  ///   - grid: The ranks, each with the whole model.
  ///   - records: How all ranks agree.
  package init(
    measuring recipe: Recipe, options: TrainerOptions, network: any Network, sampleCount: Int, on grid: RankGrid,
    records: RecordExchange
  ) {
    let parameters = FloatBuffer(count: network.layout.count)
    network.initialize(parameters, seed: options.seed)
    let settings = OptimizerSettings(
      layout: network.layout, momentum: Float(options.momentum), weightDecay: Float(options.weightDecay),
      minibatch: options.minibatch, shareCount: grid.shareCount)
    self.init(
      grid: grid, records: records, network: network, parameters: parameters,
      optimizer: recipe.optimizer(settings), transforms: recipe.optimizer.transforms, aggregation: recipe.aggregation,
      options: options, plan: RunPlan(options, sampleCount: sampleCount))
  }
}

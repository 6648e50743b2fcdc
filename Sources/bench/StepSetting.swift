internal import Buffers
internal import Collectives
internal import Datasets
internal import MPI
internal import Networks
internal import Optimizers
internal import Strategies
import Transport

/// What `bench step` measures.
struct StepSetting {
  /// What samples are.
  var form: SampleForm
  var network: any Network
  /// How ranks aggregate their gradients, and when.
  var aggregation: AggregationRecipe
  var strategy: StrategyRecipe
  /// The samples of a step over all ranks, the threads of a rank, the ranks that a model is split over, transport, topology and
  /// overlap.
  var options: TrainerOptions
  /// Seconds per step that each rank sleeps instead of computing; nil if it computes.
  var emulatedCompute: Double?

  /// What a strategy is made from on the ranks of `world`, and this rank's samples.
  ///
  /// Collective.
  ///
  /// - Throws: Also if the model cannot be split.
  func parts(on world: Communicator) throws -> (parts: StrategyParts, samples: RandomSamples) {
    let hosts = try HostMap(world, transport: options.transport, patience: benchPatience)
    let grid = try RankGrid(hosts, sliceCount: options.modelParallel)
    let blocks = try grid.modelGroup.map { try BlockExchange($0) }
    let slice = blocks.flatMap { self.network.sliced(over: $0) }
    if blocks != nil && slice == nil {
      throw SpecificationError("--model-parallel: such a model cannot be split; softmax and mlp can")
    }
    var network: any Network = slice ?? self.network
    let exchangesInStep = strategy.schedule.exchangesInStep
    if let emulatedCompute {
      let share = Partition(count: options.minibatch, into: grid.shareCount)[grid.share].count
      network = EmulatedNetwork(
        network,
        EmulatedCompute(
          network.layout, seconds: emulatedCompute / Double(exchangesInStep),
          blocks: try blocks.flatMap { blocks in
            try slice.map { try .init($0, sampleCount: (share - 1) / exchangesInStep + 1, over: blocks) }
          }))
    }
    let parameters = FloatBuffer(count: network.layout.count)
    network.initialize(parameters, seed: 1)
    let samples = RandomSamples(count: options.minibatch, of: form)
    var parts = StrategyParts(
      grid: grid, records: try RecordExchange(grid.all), sliceRecords: try grid.modelGroup.map { try RecordExchange($0) },
      blocks: blocks, network: network, parameters: parameters,
      optimizer: StochasticGradientDescent(
        OptimizerSettings(layout: network.layout, momentum: 0.9, weightDecay: 0, minibatch: options.minibatch)),
      aggregation: aggregation, options: options, plan: RunPlan(options, sampleCount: samples.count(.train)))
    // Emulated computing normalizes nothing.
    if emulatedCompute == nil, strategy.capabilities.sharesStatistics {
      parts.statistics = try StatisticsGather(for: network, among: grid.dataGroup)
    }
    return (parts, samples)
  }
}

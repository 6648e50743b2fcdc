internal import Buffers
internal import Codecs
internal import Collectives
internal import MPI
package import Networks
internal import Optimizers
package import Strategies
package import Transport

extension MemoryNeed {
  /// The memory needed for training.
  ///
  /// - Parameters:
  ///   - options: The options of the run.
  ///   - recipe: The recipe of these options.
  ///   - network: What this rank computes: the model, or its slice.
  ///   - sampleCount: The number of training samples.
  ///   - grid: The ranks.
  package init(_ options: TrainerOptions, _ recipe: Recipe, network: any Network, sampleCount: Int, on grid: RankGrid) {
    let parameterCount = network.layout.count
    let ranks = grid.shareCount
    let gradients = recipe.strategy.schedule.gradientCount
    let codec = recipe.aggregation.carrier
    let sizes = AggregationSizes(
      network.layout, hosts: grid.dataGroup, momentum: options.momentum, isClipped: options.clip != nil)
    self.init()
    add("parameters", parameterCount)
    add(gradients == 1 ? "gradient" : "gradients", gradients * parameterCount)
    if let host = grid.dataGroup.host, let codec, recipe.strategy.capabilities.isInStep {
      // Codes, and a shard of their sums; floats are read directly from the gradients.
      let codes = codec.isIdentity ? 0 : codec.encodedByteCount(of: parameterCount)
      let hasFloats = codec.isIdentity || options.warmStart != .floats(0)
      sharedByteCount =
        4 * gradients * parameterCount + codes + codes / ranks + (hasFloats ? 4 * parameterCount / ranks : 0)
      mappedByteCount = sharedByteCount * (host.count - 1)
    }
    if recipe.aggregation.capabilities.result == .gradient || recipe.strategy.capabilities.stepsAlone {
      let buffers = recipe.optimizer.bufferCount(momentum: options.momentum) * recipe.strategy.optimizerCount(ranks)
      add("optimizer", buffers * parameterCount)
    }
    for (name, count) in recipe.strategy.memory(parameterCount, ranks, codec?.isIdentity == false) { add(name, count) }
    // Sizes that do not fit the model are refused when the aggregation is made.
    if recipe.strategy.capabilities.isInStep, let rows = try? recipe.aggregation.memory(sizes),
      let messages = try? recipe.aggregation.messageMemory(sizes)
    {
      for (name, count) in rows { add(name, count) }
      if codec == nil { add("messages", messages.written + messages.arriving) }
      if let host = grid.dataGroup.host, codec == nil {
        sharedByteCount = 4 * messages.written
        mappedByteCount = sharedByteCount * (host.count - 1)
      }
    }
    if options.codec == CodecChoice.word && ranks > 1 { add("measuring codecs", 4 * parameterCount) }
    if recipe.searches { add("trials", 4 * parameterCount) }
    // Of the samples of a rank in one step.
    add("activations", max(1, min(options.minibatch, sampleCount) / ranks) * network.bytesOfSample, of: 1)
    // An order is drawn as pairs of 16 bytes.
    add("order of samples", sampleCount, of: 20)
    add("threads and lists", 24 << 20, of: 1)
  }
}

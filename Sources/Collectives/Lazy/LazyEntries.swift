internal import Buffers

/// The entry of lazily aggregated gradients.
let lazyEntries: [Registry<AggregationRecipe>.Entry] = [
  .init(
    "lazy",
    "floats, or bits on a grid, of the ranks whose gradient has changed enough; the sum of all last uploads "
      + "(Chen et al. 2018; Sun et al. 2019)", keys: LazySettings.keys
  ) { specification in
    let settings = try LazySettings(specification)
    var capabilities = AggregationCapabilities()
    capabilities.needsPlainDescent = true
    capabilities.needsSameSamples = settings.rule != .sameMinibatch
    capabilities.needsSecondGradient = settings.rule == .sameMinibatch
    return AggregationRecipe(try Specification(settings.specification), capabilities) { layout, rankCount in
      settings.rounds(count: layout.count, rankCount: rankCount)
    } memory: {
      settings.memory($0)
    } make: {
      try LazyAggregation(settings, parts: $0)
    }
  }
]

import Buffers
import Collectives
import MPI
import Networks
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// What strategies say of their exchanges is what they do: the planner, the memory of a run and the benchmark believe them.
@Suite(.serialized, .ranks(atMost: 2)) struct ExchangeScheduleTests {
  /// Strategies whose ranks do each step together: after a step all its exchanges are done but those in flight.
  private static let inStep = strategies.entries.map(\.name).filter {
    (try? strategies.make($0))?.capabilities.isInStep ?? false
  }

  @Test(arguments: inStep) func exchangesAreDoneOrInFlight(_ strategy: String) throws {
    let schedule = try strategies.make(strategy).schedule
    let run = options { ($0.strategy, $0.momentum) = (strategy, 0) }
    let trainer = try TrainingRun(run, on: world, isSilent: true)
    #expect(trainer.strategy.report.shape.exchangesInStep == schedule.exchangesInStep)
    for step in 0..<3 {
      _ = try trainer.strategy.step(step, from: trainer.loader, rate: 0.01, isMeasured: false)
      #expect(trainer.strategy.report.steps == (step + 1) * schedule.exchangesInStep - (schedule.gradientCount - 1))
    }
    _ = try trainer.strategy.drain()
    #expect(trainer.strategy.report.steps == 3 * schedule.exchangesInStep)
    try world.barrier()
  }

  /// As many gradients are counted as are held, and what an aggregation keeps counts whichever it is.
  @Test(arguments: inStep) func memoryIsCountedByTheSchedule(_ strategy: String) throws {
    let recipe = try Recipe(options { $0.strategy = strategy })
    let network = try models.make("softmax")(99, 10)
    let grid = try RankGrid(HostMap(world))
    let need = MemoryNeed(options { $0.strategy = strategy }, recipe, network: network, sampleCount: 10, on: grid)
    let gradients = need.parts.filter { ["gradient", "gradients"].contains($0.name) }
    #expect(gradients.map(\.byteCount) == [4000 * recipe.strategy.schedule.gradientCount])
    let sizes = AggregationSizes(TensorLayout([("weights", [1000])]), hosts: grid.dataGroup, momentum: 0.9)
    for (name, count) in try recipe.aggregation.memory(sizes) {
      #expect(need.parts.contains { $0.name == name && $0.byteCount == 4 * count }, "\(name) of \(strategy)")
    }
    #expect(need.parts.contains { $0.name == "messages" && $0.byteCount > 0 } == (recipe.aggregation.codec == nil))
  }

  /// What goes on while the model computes follows from when a strategy exchanges and whether the exchange can be undone.
  @Test(arguments: [("none", true), ("one-bit", true), ("fetch-sgd", false), ("top-k", false)])
  func whatIsHidden(_ codec: String, _ canBeDiscarded: Bool) throws {
    let aggregation = try aggregations.make(codec)
    #expect(ExchangeSchedule.synchronous.overlaps(aggregation) == canBeDiscarded)
    #expect(ExchangeSchedule.halves.overlaps(aggregation) && !ExchangeSchedule.unsynchronized.overlaps(aggregation))
  }
}

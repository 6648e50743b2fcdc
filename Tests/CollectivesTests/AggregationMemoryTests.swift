import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// What an aggregation is said to need before it is made is what it then allocates.
@Suite(.serialized, .ranks(atMost: 4)) struct AggregationMemoryTests {
  private static let specifications = [
    "fetch-sgd:k=1/20,columns=1/4", "fetch-sgd:k=1/20,columns=1/4,recovery=subtract",
    "fetch-sgd:k=1/20,columns=1/8,recovery=zero,window=3", "sketched-sgd:k=1/20,columns=1/4,candidates=2", "true-top-k:k=1/10",
    "top-k:k=1/10", "top-k:k=1/1", "dgc", "lazy", "lazy:bits=4", "lazy:rule=server", "lazy:rule=same-minibatch", "low-rank",
    "svd", "spectral:rank=1", "pca", "leader-top-k", "none", "one-bit", "majority-vote",
    "majority-vote:result=mean,abstain=true", "one-bit:ef21=0.1",
    "uniform:scales=shared", "ef-sign:scales=shared,sums=exact",
  ]

  /// Without shared memory everything is on the heap of the rank.
  private func allocated(_ recipe: AggregationRecipe, count: Int, momentum: Double, clip: Double?) throws -> (
    found: Int, said: Int
  ) {
    let hosts = try HostMap(allRanks, transport: .messages)
    let layout = TensorLayout([("weights", [count])])
    let gradient = try SharedGradient(count: count, hosts: hosts)
    var parts = AggregationParts(hosts: hosts, layout: layout, gradients: [gradient])
    (parts.momentum, parts.clip) = (momentum, recipe.capabilities.result == .change ? clip : nil)
    parts.model = FloatBuffer(count: count)
    let before = allocatedByteCount()
    let aggregation = try recipe(parts)
    let found = withExtendedLifetime(aggregation) { allocatedByteCount() - before }
    let sizes = AggregationSizes(layout, hosts: hosts, momentum: momentum, isClipped: clip != nil)
    let messages = try recipe.messageMemory(sizes)
    let said = try recipe.memory(sizes).reduce(messages.written + messages.arriving) { $0 + $1.count }
    return (found, 4 * said)
  }

  /// Without `mpirun` other tests run at the same time, and allocate, too.
  @Test(.ranks(atLeast: 2), arguments: specifications) func whatIsSaidIsAllocated(_ specification: String) throws {
    let recipe = try aggregations.make(specification)
    for (momentum, clip) in [(0, nil), (0.9, 1)] as [(Double, Double?)] {
      let (found, said) = try allocated(recipe, count: 200_000, momentum: momentum, clip: clip)
      if recipe.codec == nil {
        #expect(abs(found - said) < said / 10 + 100_000, "\(specification): \(said) bytes said, \(found) allocated")
      } else {
        // The shared memory of a coded all-reduce is not part of it.
        #expect(said <= found, "\(specification): \(said) bytes said, \(found) allocated")
        #expect((said > 0) == (specification == "one-bit" && allRanks.count > 1))
      }
    }
    try allRanks.barrier()
  }

  /// Fewer values than ranks, or none, need next to nothing.
  @Test(arguments: specifications, [0, 1, 3]) func littleIsSaidOfLittle(_ specification: String, _ count: Int) throws {
    let sizes = AggregationSizes(
      TensorLayout([("weights", [count])]), hosts: try HostMap(allRanks), momentum: 0.9, isClipped: true)
    // A share of few values may be too small to be asked for.
    guard let recipe = try? aggregations.make(specification), let rows = try? recipe.memory(sizes) else { return }
    let messages = try recipe.messageMemory(sizes)
    #expect(rows.allSatisfy { $0.count >= 0 && $0.count <= 100 * max(count, 1) })
    #expect(messages.written <= 1000 * allRanks.count && messages.arriving <= 1000 * allRanks.count)
    try allRanks.barrier()
  }
}

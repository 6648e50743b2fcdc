import Buffers
import Checkpoints
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// A run that goes on with another number of ranks: residuals keep their sum, owner residuals their place.
@Suite(.serialized, .ranks(atLeast: 2))
struct CheckpointRanksTests {
  @Test(arguments: 1...8)
  func fewerAndMoreRanks(_ fewer: Int) throws {
    guard fewer <= world.count else { return }
    try check(from: world.count, to: fewer)
    try check(from: fewer, to: world.count)
  }

  private func check(from savers: Int, to loaders: Int) throws {
    let directory = try TemporaryDirectory(on: world)
    if let group = try world.split(color: world.rank < savers ? 0 : nil) {
      try makeStore(in: directory, steps: [6], on: group).close()
    }
    try world.barrier()
    if let group = try world.split(color: world.rank < loaders ? 0 : nil) {
      let store = try CheckpointStore(directory: directory.path, on: group)
      let run = try #require(try store.open(resume: true).run)
      #expect(run.ranks == savers)
      let state = SampleState(seed: nil, on: group)
      var inventory = state.inventory(ownCounters: ["seen": "mine"])
      try store.load(run, into: &inventory)
      #expect(inventory.ownCounters == ["seen": "mine"])

      // What every rank has the same of, and the flat vector of the owners, as they were drawn.
      let random = Philox(seed: 6, purpose: .tests)
      let reference = SampleState(seed: 6, on: group)
      #expect(state.bits[0] == reference.bits[0] && state.bits[1] == reference.bits[1])
      #expect(state.bits[3] == reference.bits[3])
      // Residuals in fp32, rank by rank, from the drawn values themselves.
      var total = Array(repeating: 0.0, count: state.residual.count)
      for i in 0..<state.residual.count {
        let parts = (0..<savers).map { random.uniform(i, tensor: 2 + $0) - 0.5 }
        let mine = stride(from: group.rank, to: savers, by: loaders).map { parts[$0] }
        let expected = mine.isEmpty ? Float(0) : mine.dropFirst().reduce(mine[0], +)
        #expect(state.residual[i] == expected)
        total[i] = parts.reduce(0.0) { $0 + Double($1) }
      }
      // Sums of squares of each rank's own gradients: equal shares of their sum.
      for i in 0..<state.squares.count {
        let sum = (0..<savers).reduce(Float(0)) { $0 + random.uniform(i, tensor: 500 + $1) }
        let expected = savers == loaders ? random.uniform(i, tensor: 500 + group.rank) : sum / Float(loaders)
        #expect(abs(state.squares[i] - expected) <= expected * Float(savers) * 0x1p-23)
      }
      // The sum over ranks is conserved up to the roundings of as many additions.
      let all = try group.allGather(Array(state.residual.values))
      for i in 0..<total.count {
        let sum = (0..<loaders).reduce(0.0) { $0 + Double(all[$1 * total.count + i]) }
        #expect(abs(sum - total[i]) <= Double(savers) * 0x1p-23)
      }
    }
    try world.barrier()
  }
}

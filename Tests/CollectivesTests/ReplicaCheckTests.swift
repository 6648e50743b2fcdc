import Buffers
import Collectives
import MPI
import Testing
import Transport
@testable import _CollectivesSupport

/// Models that must be equal are compared, and what differs is named.
@Suite(.serialized) struct ReplicaCheckTests {
  private struct Replica {
    let layout = Layouts.perceptron
    let parameters = FloatBuffer(count: Layouts.perceptron.count)
    let check: ReplicaCheck

    init(_ transport: Transport) throws {
      let hosts = try HostMap(allRanks, transport: transport)
      let records = try RecordExchange(hosts)
      check = try ReplicaCheck(layout, over: records, on: RankGrid(hosts))
      parameters.set(drawGradient(count: layout.count, seed: 61, step: 0, rank: 0))
    }

    /// Changes the lowest bit of a value.
    func flip(_ index: Int) { parameters[index] = Float(bitPattern: parameters[index].bitPattern ^ 1) }

    /// What the check says: tensors, ranks and step, or nil.
    func verdict(step: Int) throws -> (tensors: [String], ranks: [Int], step: Int)? {
      do {
        _ = try check.verify(parameters, step: step)
        return nil
      } catch ExchangeError.diverged(let tensors, let ranks, let step) {
        return (tensors, ranks, step)
      }
    }
  }

  @Test(arguments: transports) func equalModelsPass(_ transport: Transport) throws {
    let replica = try Replica(transport)
    for step in 0..<5 {
      let hash = try replica.check.verify(replica.parameters, step: step)
      #expect(Set(try allRanks.allGather([hash])).count == 1)
      let bytes = UnsafeRawBufferPointer(replica.parameters.values)
      #expect(hash == XXHash64.hash(bytes))
      // Another model, the same on all ranks.
      replica.flip(step * 31)
    }
  }

  /// A single bit on a single rank, in the first, a middle and the last tensor, on every rank in turn.
  @Test(.enabled(if: allRanks.count > 1), arguments: transports) func oneBitIsFound(_ transport: Transport) throws {
    let replica = try Replica(transport)
    for culprit in 0..<allRanks.count {
      for tensor in [replica.layout.tensors[0], replica.layout.tensors[2], replica.layout.tensors.last!] {
        for index in [tensor.range.lowerBound, tensor.range.upperBound - 1] {
          if allRanks.rank == culprit { replica.flip(index) }
          let verdict = try replica.verdict(step: 7)
          #expect(verdict?.tensors == [tensor.name])
          // Of two ranks the lower one counts as right.
          #expect(verdict?.ranks == [allRanks.count == 2 ? 1 : culprit])
          #expect(verdict?.step == 7)
          if allRanks.rank == culprit { replica.flip(index) }
        }
      }
      #expect(try replica.verdict(step: 8) == nil)
    }
  }

  /// Several tensors differ, on several ranks.
  @Test(.enabled(if: allRanks.count > 2), arguments: transports) func theMinorityIsNamed(_ transport: Transport) throws {
    let replica = try Replica(transport)
    let tensors = replica.layout.tensors
    // Each of a minority differs in its own way.
    let minority = Array((1..<allRanks.count).suffix((allRanks.count - 1) / 2))
    if let place = minority.firstIndex(of: allRanks.rank) {
      replica.flip(tensors[1].range.lowerBound + place)
      replica.flip(tensors[3].range.lowerBound + place)
    }
    var verdict = try replica.verdict(step: 9)
    #expect(verdict?.tensors == [tensors[1].name, tensors[3].name])
    #expect(verdict?.ranks == minority)
    // A majority that left rank 0: then rank 0 is among those that differ.
    let right = replica.parameters.array
    replica.parameters.set(drawGradient(count: right.count, seed: 61, step: 0, rank: 0))
    if allRanks.rank > 0 { replica.flip(tensors[0].range.lowerBound) }
    verdict = try replica.verdict(step: 10)
    #expect(verdict?.ranks == [0])
    #expect(verdict?.tensors == [tensors[0].name])
  }

  /// Equally many on both sides: the side of the lowest rank counts as right.
  @Test(.enabled(if: allRanks.count > 1 && allRanks.count % 2 == 0), arguments: transports)
  func lowestRankBreaksTies(_ transport: Transport) throws {
    let replica = try Replica(transport)
    if allRanks.rank % 2 == 0 { replica.flip(3) }
    let verdict = try replica.verdict(step: 1)
    #expect(verdict?.ranks == Array(stride(from: 1, to: allRanks.count, by: 2)))
  }

  /// The sentence names tensors, ranks and the step.
  @Test func sentence() {
    let text = "\(ExchangeError.diverged(tensors: ["layers.2.weight"], ranks: [3], step: 41))"
    #expect(text.contains("layers.2.weight") && text.contains("3") && text.contains("41"))
    #expect(ExchangeError.diverged(tensors: [], ranks: [], step: 0).exitStatus == 70)
  }

  /// Slices differ by their nature; a rank is compared with those of its slice.
  @Test(.enabled(if: allRanks.count >= 4 && allRanks.count % 2 == 0), arguments: transports)
  func equalSlicesAreCompared(_ transport: Transport) throws {
    let grid = try RankGrid(HostMap(allRanks, transport: transport), sliceCount: 2)
    let check = try ReplicaCheck(Layouts.perceptron, over: RecordExchange(grid.all), on: grid)
    let parameters = FloatBuffer(count: Layouts.perceptron.count)
    parameters.set(drawGradient(count: parameters.count, seed: 62, step: 0, rank: grid.slice))
    #expect(try check.verify(parameters, step: 1) == parameters.hash())
    let culprit = allRanks.count - 1
    if allRanks.rank == culprit { parameters[0] = -parameters[0] }
    #expect {
      try check.verify(parameters, step: 2)
    } throws: {
      guard case .diverged(let tensors, let ranks, 2)? = $0 as? ExchangeError else { return false }
      // Of two ranks the lower one counts as right.
      return tensors == [Layouts.perceptron.tensors[0].name] && ranks == [culprit]
    }
  }
}

import Buffers
import PointToPoint
import Testing
import _TestSupport

/// Where models of others wait and leave.
@Suite(.oneProcess) struct PairDesksTests {
  private func desks(_ worker: Int, of graph: PairGraph) -> PairDesks {
    let values = FloatBuffer(count: 3)
    let worker = PairWorker(worker, in: graph, seed: 1, model: FloatBuffer(count: 3), desk: values)
    return PairDesks(of: [worker], in: graph, count: 3)
  }

  /// A model that does not come, or an answer that does not leave, takes one desk of two.
  @Test func aSlowWorkerKeepsNoOtherWaiting() {
    var desks = desks(2, of: PairGraph(.ring, count: 8))
    #expect(desks.count == 2)
    let slow = desks.place(for: 1, by: 0)
    #expect(slow != nil)
    for _ in 0..<3 {
      let other = desks.place(for: 3, by: 0)
      #expect(other != nil && other !== slow)
      let (again, early) = (desks.place(for: 3, by: 0), desks.answer(to: 3, by: 0))
      #expect(again == nil && early == nil)
      desks.note(modelOf: 3)
      let answer = desks.answer(to: 3, by: 0)
      #expect(answer === other)
      desks.free(of: 0) { $0 == 3 }
    }
    desks.note(modelOf: 1)
    let answer = desks.answer(to: 1, by: 0)
    #expect(answer === slow)
    // The answer is still leaving.
    desks.free(of: 0) { _ in false }
    let (next, none) = (desks.place(for: 3, by: 0), desks.place(for: 1, by: 0))
    #expect(next != nil && none == nil)
    desks.clear()
    let first = desks.place(for: 1, by: 0)
    #expect(first === slow)
  }

  @Test func aWorkerThatOneMayAskHasOneDesk() {
    #expect(desks(0, of: PairGraph(.ring, count: 2)).count == 1)
    #expect(desks(1, of: PairGraph(.ring, count: 8)).count == 1)
  }
}

package import Buffers

/// Where workers of a rank keep the models of workers of other ranks that have asked them, while these arrive, and the answers while they
/// leave.
///
/// A worker that several may ask has two desks, so that one behind a slow link keeps no other waiting; any other worker has one.
package struct PairDesks {
  private struct Desk {
    enum Use: Equatable { case free, receiving(of: Int), holding(of: Int), sending(to: Int) }

    let values: FloatBuffer
    var use = Use.free
  }

  private var desks: [[Desk]]

  /// Desks of `workers`, whose own are the first, for models of `count` values.
  package init(of workers: [PairWorker], in graph: PairGraph, count: Int) {
    desks = workers.map { worker in
      let areSeveral = !graph.isActive(worker.id) && graph.graph.neighbours[worker.id].count(where: graph.isActive) > 1
      return [Desk(values: worker.desk)] + (areSeveral ? [Desk(values: FloatBuffer(count: count))] : [])
    }
  }

  /// The number of desks of all workers.
  package var count: Int { desks.joined().count }

  /// Makes all free.
  package mutating func clear() { desks = desks.map { $0.map { Desk(values: $0.values) } } }

  /// The model of a worker that asked has arrived.
  package mutating func note(modelOf asking: Int) {
    for worker in desks.indices {
      for desk in desks[worker].indices where desks[worker][desk].use == .receiving(of: asking) {
        desks[worker][desk].use = .holding(of: asking)
      }
    }
  }

  /// Frees the desks of a worker, by its place among those of the rank, whose answers have left.
  package mutating func free(of worker: Int, where hasLeft: (_ asking: Int) -> Bool) {
    for desk in desks[worker].indices {
      if case .sending(let other) = desks[worker][desk].use, hasLeft(other) { desks[worker][desk].use = .free }
    }
  }

  /// The model of one that asked, which has arrived and now becomes the answer; nil if it is not there.
  package mutating func answer(to asking: Int, by worker: Int) -> FloatBuffer? {
    guard let desk = desks[worker].firstIndex(where: { $0.use == .holding(of: asking) }) else { return nil }
    desks[worker][desk].use = .sending(to: asking)
    return desks[worker][desk].values
  }

  /// A free desk to receive the model of one that asked; nil if there is none, or it is being received.
  package mutating func place(for asking: Int, by worker: Int) -> FloatBuffer? {
    guard !desks[worker].contains(where: { $0.use == .receiving(of: asking) }),
      let desk = desks[worker].firstIndex(where: { $0.use == .free })
    else { return nil }
    desks[worker][desk].use = .receiving(of: asking)
    return desks[worker][desk].values
  }
}

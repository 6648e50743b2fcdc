internal import Buffers
internal import Collectives
internal import Datasets
internal import Kernels
internal import Networks
internal import Optimizers
internal import Reporting
internal import Transport

/// Federated averaging: a rank takes the steps of a round for several clients, one after another.
///
/// Each begins at the start of the round, with an optimizer that has seen nothing, and is weighed by the samples that it holds:
/// Σ(n_c/N)Ψ_c over the clients of the round. With a number of passes, each takes the steps that they need. If every client takes
/// part in every round, one on each rank, its optimizer is kept.
/// Source: algorithms §9.2.
extension LocalSteps {
  /// Takes the steps of a round of this rank's clients, and sets the contribution to Σ n_cΨ_c over those whose values are finite.
  func takeSteps(of clients: RoundClients, _ round: Range<Int>, on course: Course) throws -> StepAgreement.Statement {
    guard let held = course.loader.clients?.clients else { fatalError("there are no clients") }
    let psi = exchanges[0].contribution.values
    psi.clear()
    var own = StepAgreement.Statement()
    let all = clients.sampled(in: round.lowerBound / settings.steps)
    for place in clients.places(of: parts.grid.share, among: parts.grid.shareCount) {
      let client = all[place]
      inner.model.copy(from: start)
      let optimizer = isOneClient ? parts.optimizer : parts.optimizer.fresh()
      var found = StepAgreement.Statement()
      let count = settings.stepCount(of: round, holding: held[client].count, at: place, of: clients)
      var (last, repeats) = (round.lowerBound, 0)
      for offset in 0..<count where found.nonFiniteTensor == nil {
        // The steps of a client are spread over those of the round, however many they are.
        let step = round.lowerBound + offset * round.count / count
        if step > last { try FaultInjector.reach(.step, step + 1) }
        repeats = step > last || offset == 0 ? 0 : repeats + 1
        last = step
        let samples = clients.samples(of: client, at: place, offset: offset)
        let taken = try inner.take(step, on: course, from: start, by: optimizer) {
          course.loader.batch(
            of: client, at: samples, in: step, share: place + repeats * clients.sampledCount, of: clients.sampledCount)
        }
        found.add(taken)
      }
      add(found, weight: held[client].count, to: psi, &own, decay: decay(over: round, on: course))
    }
    return own
  }

  /// Goes on after `round`: each of its clients has taken its steps.
  func advanceClients(past round: Range<Int>, on course: Course) {
    guard let clients, let held = course.loader.clients?.clients else { return }
    self.clients?.advance(past: round.lowerBound / settings.steps) { [settings] client, place in
      settings.stepCount(of: round, holding: held[client].count, at: place, of: clients)
    }
  }

  /// Adds n_cΨ_c to the sum, if it is finite.
  private func add(
    _ found: StepAgreement.Statement, weight: Int, to sum: FloatBuffer, _ own: inout StepAgreement.Statement, decay: Float
  ) {
    var found = found
    let change = inner.gradient
    inner.change(of: 0..<change.count, from: start, decay: decay, by: parts.optimizer, into: change)
    let squares = change.sumOfSquares
    if found.nonFiniteTensor == nil, !squares.isFinite {
      found.nonFiniteTensor = firstNonFinite()
    }
    guard found.nonFiniteTensor == nil else {
      own.nonFiniteTensor = own.nonFiniteTensor ?? found.nonFiniteTensor
      own.clearedValues += 1
      return
    }
    own.add(found)
    own.weight += weight
    own.gradientSquares += squares
    let factor = Float(weight)
    for i in 0..<sum.count { sum.baseAddress[i] += factor * change.baseAddress[i] }
  }
}

extension LocalStepsSettings {
  /// The steps of a client that holds `count` samples, at `place` of a round: those of the round, or of its passes.
  fileprivate func stepCount(of round: Range<Int>, holding count: Int, at place: Int, of clients: RoundClients) -> Int {
    epochs.map { clients.steps(for: $0, over: count, at: place) } ?? round.count
  }
}

import Buffers
import Collectives
import MPI
import Transport

/// What is lost over 30 exchanges of drawn gradients: the largest difference between what the ranks gave and what was delivered or stays
/// in a residual; collective.
func loss(of exchange: CodedAllReduce, _ gradient: SharedGradient, count: Int, seed: Int) throws -> Double {
  var (given, delivered) = ([Double](repeating: 0, count: count), [Double](repeating: 0, count: count))
  for step in 0..<30 {
    let own = drawGradient(count: count, seed: seed, step: step, rank: allRanks.rank)
    gradient.values.set(own)
    let output = FloatBuffer(count: count)
    output.fill(.nan)
    try exchange.run(step: step, samples: 8, into: .buffer(output))
    for i in 0..<count {
      given[i] += Double(own[i])
      delivered[i] += Double(output[i])
    }
  }
  let sharesWork = allRanks.count > 1
  for i in 0..<count where sharesWork {
    given[i] -= Double(exchange.residual[i])
    if let place = exchange.ownedOffset(of: i) { given[i] -= Double(exchange.ownerResidual[place]) }
  }
  try allRanks.allReduce(&given, .sum)
  // What is no number is a loss as well.
  return zip(given, delivered).reduce(0) { $1.0.isFinite && $1.1.isFinite ? max($0, abs($1.0 - $1.1)) : .infinity }
}

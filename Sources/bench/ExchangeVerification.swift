internal import Buffers
internal import Collectives
internal import MPI
import Transport

/// Checks an exchange that started with empty residuals: output + all residuals = exact sum of the gradients.
struct ExchangeVerification {
  /// The result of the check.
  struct Result {
    /// The largest difference from the exact sum.
    var maxError = 0.0
    /// The number of values whose difference is above (K + 3)·½ulp of the largest term.
    var wrong = 0
  }

  private let exchange: CodedAllReduce
  private let gradient: FloatBuffer
  private let output: FloatBuffer
  private let hosts: HostMap

  init(_ exchange: CodedAllReduce, gradient: FloatBuffer, output: FloatBuffer, hosts: HostMap) {
    self.exchange = exchange
    self.gradient = gradient
    self.output = output
    self.hosts = hosts
  }

  /// Compares every value in fp64, piece by piece.
  ///
  /// Collective.
  func run() throws -> Result {
    var result = Result()
    let (world, activity) = (hosts.world, "the checking of a result")
    let piece = 1 << 16
    for start in stride(from: 0, to: output.count, by: piece) {
      let range = start..<min(start + piece, output.count)
      var expected = range.map { Double(gradient[$0]) - residuals(at: $0).sum }
      // The owner's partial sum after this rank's contribution: its rounding errors count too.
      var partial = range.map { Double(gradient[$0]) - Double(exchange.residual.count > 0 ? exchange.residual[$0] : 0) }
      try hosts.enter(activity) { try world.scan(&partial, .sum) }
      var largest = range.enumerated().map { offset, index in
        max(abs(gradient[index]), abs(output[index]), residuals(at: index).largest, Float(abs(partial[offset])))
      }
      try hosts.enter(activity) {
        try world.allReduce(&expected, .sum)
        try world.allReduce(&largest, .max)
      }
      for (offset, index) in range.enumerated() {
        let error = abs(Double(output[index]) - expected[offset])
        let bound = Double(world.count + 3) * 0.5 * Double(largest[offset].ulp)
        // Written so that a NaN counts as wrong.
        if !(error <= bound) { result.wrong += 1 }
        result.maxError = max(result.maxError, error.isNaN ? .infinity : error)
      }
    }
    return result
  }

  private func residuals(at index: Int) -> (sum: Double, largest: Float) {
    guard exchange.residual.count > 0 else { return (0, 0) }
    let own = exchange.residual[index]
    let owner = exchange.ownedOffset(of: index).map { exchange.ownerResidual[$0] } ?? 0
    return (Double(own) + Double(owner), max(abs(own), abs(owner)))
  }
}

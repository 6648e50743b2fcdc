import Kernels
import Testing

extension KernelPathTests {
  /// As many values reach a limit as there should, or it is the pattern of the one with the least rank that may be the last.
  @Test("limits that a number of values reach", arguments: Gradients.allCases)
  func magnitudeLimits(family: Gradients) {
    for count in Self.counts where count > 0 {
      let values = family.values(count)
      let patterns = values.map { $0.bitPattern & 0x7FFF_FFFF }.sorted(by: >)
      for least in Set([1, count / 50, count / 3, count - 1, count]) where least > 0 {
        for most in [least, min(count, least + least / 8), count] {
          compare("\(least) to \(most) of \(count) values") {
            let found = magnitudeLimit(of: values, count: count, reachedBy: least...most)
            let reaching = patterns.count { $0 >= found.key }
            let isRight = reaching <= most || found.key == patterns[least - 1]
            #expect(found.count == reaching && reaching >= least && isRight, "\(least) to \(most) of \(count): \(found)")
            return [found.key, UInt32(found.count)]
          }
        }
      }
    }
  }

  @Test("residuals that fade", arguments: Gradients.allCases)
  func residualsAreAdded(family: Gradients) {
    for count in Self.counts {
      let (gradient, residual) = (family.values(count), Gradients.wide.values(count, seed: 5))
      for factor in [1, 0.95, 0.5, 0] as [Float] {
        compare("\(count) values, \(factor)") {
          var values = [Float](repeating: 7, count: count + 1)
          addResidual(gradient, residual, times: factor, count: count, into: &values)
          #expect(values[count] == 7)
          let right = (0..<count).map { (gradient[$0] + factor * residual[$0]) + 0.0 }
          #expect(Array(values.dropLast()).patterns == right.patterns, "\(count) values, \(factor)")
          return values.patterns
        }
      }
    }
  }
}

import Strategies
import Testing
import Trainer
import _TestSupport

/// When a user is told that the codec cannot follow the learning rate.
@Suite(.oneProcess) struct ResidualWatchTests {
  /// The warnings for a course of ratios, with the step of each.
  private func warnings(_ ratios: [Double], gradient: (Int) -> Double = { _ in 1 }, codec: String? = "one-bit") -> [(
    step: Int, text: String
  )] {
    var watch = ResidualWatch(codec: codec)
    return ratios.enumerated().compactMap { step, ratio in watch.add(ratio, norm: ratio * gradient(step)).map { (step, $0) } }
  }

  @Test func aRunThatGoesWellIsLeftAlone() {
    // One bit on MNIST at rate 0.1, and single steps of larger ratios in a small run.
    #expect(warnings([0, 0, 1.15, 1.4, 1.21, 1.98, 2.09, 1.48, 0.87, 2.67, 0.66, 1.93, 1.6]).isEmpty)
    #expect(warnings([0.99, 1.81, 1.74, 2.49, 2.57, 2.82, 2.18, 3.91, 1.76, 3.5, 3.91, 2.01, 2.27]).isEmpty)
    // Gradients that vanish because the training samples are learned by heart.
    #expect(warnings([1] + Array(repeating: 9, count: 30)) { $0 == 0 ? 1 : 0.01 }.isEmpty)
    #expect(warnings(Array(repeating: 9, count: 30), codec: nil).isEmpty)
  }

  @Test func residualsThatStayLargeAreSaidOnce() throws {
    // A warm start, which leaves nothing behind, and then one bit at rate 0.3.
    let ratios = [0, 0, 0, 0.56, 1.39, 2.91, 3.94, 1.43, 5.57, 3.81, 5.94, 5.63, 3.32, 4.09, 4.48, 4.59, 4.93, 5, 5, 5]
    let said = warnings(ratios)
    try #require(said.count == 1)
    #expect(said[0].step == 14 && said[0].text.contains("4.1 times"))
    #expect(said[0].text.contains("one-bit") && said[0].text.contains("--learning-rate"))
  }

  @Test func valuesThatWaitForLongLeaveMore() {
    for (exchanges, ratio, isSaid) in [(1.0, 4.5, true), (64, 4.5, false), (64, 8.5, true), (256, 10, false), (256, 17, true)] {
      var watch = ResidualWatch(codec: "chunk-top-k", exchangesUntilSent: exchanges)
      let said = (1...20).compactMap { watch.add(ratio, norm: ratio * Double($0)) }
      #expect(said.isEmpty == !isSaid, "\(ratio) after \(exchanges)")
      #expect((watch.hint != nil) == (ratio > max(3, 0.75 * exchanges.squareRoot())))
    }
  }

  @Test func aFailedRunIsToldByItsLargestRatio() {
    var watch = ResidualWatch(codec: "one-bit")
    #expect(watch.hint == nil)
    for ratio in [1.3, 2.42] { _ = watch.add(ratio, norm: ratio) }
    #expect(watch.hint == nil)
    for ratio in [3.77, 0.69, 0] { _ = watch.add(ratio, norm: ratio) }
    #expect(watch.hint?.contains("3.8 times") == true)
  }
}

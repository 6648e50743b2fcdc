import Foundation
import Strategies
import Testing
import Trainer
import _TestSupport

@Suite(.oneProcess) struct TextSamplingTests {
  private static let shares = [0.1, 0.4, 0.2, 0.3]

  private func draws(_ count: Int, _ change: (inout TextSampling) -> Void = { _ in }) -> [Int?] {
    var sampling = TextSampling()
    change(&sampling)
    let logPosteriors = Self.shares.map { Float(log($0)) }
    return logPosteriors.withUnsafeBufferPointer { row in (0..<count).map { sampling.draw(row, number: $0) } }
  }

  /// Tokens come as often as they are probable: within five standard deviations of what is expected.
  @Test func tokensComeAsTheyAreProbable() {
    func check(_ draws: [Int?], _ shares: [Double]) {
      for (token, share) in shares.enumerated() {
        let deviation = (Double(draws.count) * share * (1 - share)).squareRoot()
        let count = draws.count { $0 == token }
        #expect(abs(Double(count) - Double(draws.count) * share) <= 5 * deviation, "\(token): \(count)")
      }
    }
    check(draws(4000), Self.shares)
    check(draws(4000) { $0.topCount = 2 }, [0, 4 / 7, 0, 3 / 7])
    let squares = Self.shares.map { $0 * $0 }
    check(draws(4000) { $0.temperature = 0.5 }, squares.map { $0 / squares.reduce(0, +) })
    #expect(draws(50) { $0.temperature = 0 }.allSatisfy { $0 == 1 })
    #expect(draws(50) { $0.topCount = 1 }.allSatisfy { $0 == 1 })
    #expect(draws(50) == draws(50) && draws(50) != draws(50) { $0.seed = 2 })
  }

  @Test func extremesHaveAnAnswer() {
    func draw(_ row: [Float], _ change: (inout TextSampling) -> Void = { _ in }) -> Int? {
      var sampling = TextSampling()
      change(&sampling)
      return row.withUnsafeBufferPointer { sampling.draw($0, number: 3) }
    }
    // Of equals the lower one is the more probable.
    #expect(draw([-1, -1, -1]) { $0.temperature = 0 } == 0)
    #expect(draw([-2, -1, -1]) { $0.topCount = 1 } == 1)
    #expect(draw([-1e30, 0, -.infinity]) == 1)
    #expect(draw([-1, .nan, -1]) == nil)
    #expect(draw([-1, -2]) { ($0.temperature, $0.topCount) = (1e-30, 99) } == 0)
  }
}

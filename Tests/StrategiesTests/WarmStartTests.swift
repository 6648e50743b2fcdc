import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

@Suite(.oneProcess) struct WarmStartTests {
  @Test func isReadAsPeopleWriteIt() throws {
    let cases: [(String, WarmStart)] = [
      ("117", .floats(117)), ("0", 0), ("replicated:5", .replicated(5)), ("auto", .automatic),
      ("bits:32x60+8x40+2x7", .bits([.init(bits: 32, steps: 60), .init(bits: 8, steps: 40), .init(bits: 2, steps: 7)])),
    ]
    for (text, value) in cases {
      var options = TrainerOptions()
      try options.set("warm-start", to: text)
      #expect(options.warmStart == value && options.texts["warm-start"] == text && options.faults() == [])
    }
    for text in [
      "", "auto:3", "replicated", "replicated:", "bits:", "bits:8", "bits:8x", "bits:8x3+", "bits:8x3x2", "floats:3",
    ] {
      var options = TrainerOptions()
      #expect(throws: OptionError.self) { try options.set("warm-start", to: text) }
    }
    for text in ["-1", "replicated:-2", "bits:7x10", "bits:1x10", "bits:8x0", "bits:4x5+8x5", "bits:8x5+8x5"] {
      var options = TrainerOptions()
      try options.set("warm-start", to: text)
      #expect(options.faults().count == 1 && options.faults()[0].hasPrefix("--warm-start "), "\(text)")
    }
  }

  @Test func everyStepHasItsWay() {
    func ways(_ start: WarmStart?, _ horizon: Int) -> [WarmStartPhase] {
      let warmStartPhases = WarmStartPhases(start, horizon: horizon)
      return (0..<horizon).map { warmStartPhases.phase(at: Double($0)) }
    }
    #expect(ways(nil, 25) == [.floats, .floats] + Array(repeating: .codec, count: 23))
    #expect(ways(3, 5) == [.floats, .floats, .floats, .codec, .codec])
    #expect(ways(0, 2) == [.codec, .codec])
    #expect(ways(9, 2) == [.floats, .floats])
    #expect(ways(.replicated(1), 3) == [.replicated, .codec, .codec])
    #expect(
      ways(.bits([.init(bits: 32, steps: 1), .init(bits: 8, steps: 2), .init(bits: 2, steps: 1)]), 6)
        == [.floats, .bits(8), .bits(8), .bits(2), .codec, .codec])
    #expect(ways(.automatic, 9) == [.floats, .floats] + Array(repeating: .codec, count: 7))
    #expect(
      WarmStartPhases(.automatic, horizon: 9).isOpen && !WarmStartPhases(nil, horizon: 90).isOpen
        && !WarmStartPhases(.automatic, horizon: 3).isOpen)
  }
}

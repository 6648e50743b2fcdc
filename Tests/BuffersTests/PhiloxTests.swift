import Buffers
import Testing

@Suite struct PhiloxTests {
  @Test("the known answers of its authors")
  func knownAnswers() {
    #expect(
      Philox.block(counter: SIMD4(0, 0, 0, 0), key: SIMD2(0, 0)) == SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
    #expect(
      Philox.block(counter: SIMD4(repeating: .max), key: SIMD2(repeating: .max))
        == SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
    #expect(
      Philox.block(
        counter: SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), key: SIMD2(0xa409_3822, 0x299f_31d0))
        == SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
  }

  @Test("every field of the address counts")
  func addresses() {
    let random = Philox(seed: 1, purpose: .tests, step: 2, stream: 3)
    #expect(random.word(6) == random.words(quad: 1)[2])
    var words = Set((0..<1000).map { random.word($0) })
    words.formUnion((0..<1000).map { random.word($0, tensor: 1) })
    for other in [
      Philox(seed: 2, purpose: .tests, step: 2, stream: 3), Philox(seed: 1 << 32, purpose: .tests, step: 2, stream: 3),
      Philox(seed: 1, purpose: .drawing, step: 2, stream: 3), Philox(seed: 1, purpose: .tests, step: 3, stream: 3),
      Philox(seed: 1, purpose: .tests, step: 2, stream: 4),
    ] { words.formUnion((0..<1000).map { other.word($0) }) }
    // Of 7 000 random words, about 0.006 are equal by chance.
    #expect(words.count >= 6999)
  }

  @Test("sixteen quads at once are those one by one")
  func manyAtOnce() {
    let random = Philox(seed: 0xFEDC_BA98_7654_3210, purpose: .tests, step: 0x8000_0001, stream: 0xFFFFFF)
    for first in [0, 16, 0xFFFF_FFF0, 1 << 32] {
      let words = random.words(quads: first, tensor: 0xABCD)
      for quad in 0..<16 {
        let expected = random.words(quad: first + quad, tensor: 0xABCD)
        #expect(SIMD4(words.0[quad], words.1[quad], words.2[quad], words.3[quad]) == expected)
      }
    }
  }

  @Test("uniform numbers lie in [0, 1) and are spread evenly")
  func uniform() {
    let random = Philox(seed: 5, purpose: .tests)
    let values = (0..<40_000).map { random.uniform($0) }
    #expect(values.allSatisfy { $0 >= 0 && $0 < 1 })
    let mean = values.reduce(0) { $0 + Double($1) } / 40_000
    #expect((mean - 0.5).magnitude < 5 * 0.2887 / 200)
  }
}

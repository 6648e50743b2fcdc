import Buffers
import Testing
import _TestSupport

/// The hash of files is made while they are written, piece by piece.
@Suite(.oneProcess) struct CheckpointHashTests {
  /// Known answers of the reference implementation for the bytes 0, 1, … n − 1.
  @Test(arguments: [
    (count: 0, expected: 0xEF46_DB37_51D8_E999),
    (1, 0xE934_A84A_DB05_2768),
    (3, 0xE5C7_BB45_33BC_65DD),
    (4, 0xFFCE_D860_4453_CC1E),
    (8, 0x884A_1736_14B8_1B8D),
    (31, 0xC346_D2B5_9B4D_8EE1),
    (32, 0xCBF5_9C51_16FF_32B4),
    (33, 0x0C53_5D1A_CAFB_8EAD),
    (47, 0x0D98_83A0_3E7B_FBB8),
    (64, 0xF7C6_7301_DB67_13F0),
    (100, 0x6AC1_E580_3216_6597),
    (1000, 0x6EF4_36B0_0EBA_4078),
  ])
  func knownAnswers(count: Int, expected: UInt64) {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
    #expect(bytes.withUnsafeBytes { XXHash64.hash($0) } == expected)
  }

  @Test(arguments: [1, 3, 7, 8, 31, 32, 33, 64, 100])
  func piecesDoNotMatter(length: Int) {
    let random = Philox(seed: 5, purpose: .tests)
    let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: random.word($0)) }
    for end in [0, 1, 31, 32, 33, 63, 64, 65, 999, 1000] {
      var hash = XXHash64(seed: 9)
      bytes[..<end].withUnsafeBytes { whole in
        for start in stride(from: 0, to: end, by: length) {
          hash.update(UnsafeRawBufferPointer(rebasing: whole[start..<min(start + length, end)]))
        }
      }
      #expect(hash.value == bytes[..<end].withUnsafeBytes { XXHash64.hash($0, seed: 9) })
    }
  }
}

import Buffers
import Testing

@Suite struct XXHash64Tests {
  /// From the reference implementation (Debian's python3-xxhash 3.2.0): byte i is (7 i + 3) mod 256; seeds 0 and 0x9e3779b97f4a7c15.
  static let known: [(count: Int, hash: UInt64, seeded: UInt64)] = [
    (0, 0xef46_db37_51d8_e999, 0xc434_9fc9_3c01_0000), (1, 0x1f25_c8d0_bc1f_4bb6, 0x7982_6bcd_749d_267a),
    (3, 0x31d2_363f_52e5_64c9, 0x78ef_d775_75e2_6575), (4, 0x9bb6_4b7d_66ee_9fda, 0x6f0a_6c97_d68b_f353),
    (7, 0x9a7b_1499_59ce_60d8, 0xd97e_de93_c9d6_6a0d), (8, 0xdab9_9d95_c6f9_0092, 0xa2f1_e284_37a7_8a1b),
    (15, 0x1b47_cb82_43cc_8e32, 0xe2ec_50a5_44fa_ec61), (31, 0xa2aa_5f33_cc4a_6119, 0x7554_3727_1d1d_0a84),
    (32, 0x23c3_c17e_f790_fd97, 0xbf62_4b93_2c09_0428), (33, 0x50a7_cfc7_ba58_8784, 0x7ace_af1e_9d34_ea35),
    (63, 0x5e3e_54b4_31c7_493c, 0x2c8d_dce5_c85d_0d9d), (64, 0x0eb6_4b3e_f6ee_b01f, 0x4af3_41f1_4e3a_6fc9),
    (100, 0xa61f_8d4c_170f_e531, 0xf6d8_f65c_625a_bb4f), (1000, 0x5f23_5fa0_33f1_a3fb, 0x442a_cd0a_822e_86f6),
  ]

  @Test("the known answers of the reference implementation")
  func knownAnswers() {
    for (count, hash, seeded) in Self.known {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: 7 * $0 + 3) }
      bytes.withUnsafeBytes {
        #expect(XXHash64.hash($0) == hash)
        #expect(XXHash64.hash($0, seed: 0x9e37_79b9_7f4a_7c15) == seeded)
      }
    }
    #expect(XXHash64.hash("") == 0xef46_db37_51d8_e999)
  }

  @Test("a buffer's hash is that of its bytes")
  func buffers() {
    let buffer = FloatBuffer(count: 100)
    let before = buffer.hash()
    buffer[99] = -0.0
    #expect(buffer.hash() != before)
    #expect(buffer.hash(in: 0..<99) == FloatBuffer(count: 99).hash())
  }
}

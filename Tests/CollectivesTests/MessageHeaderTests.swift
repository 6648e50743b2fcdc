import Collectives
import MPI
import Testing
import Transport
import _TestSupport

/// What stands before every message.
@Suite(.oneProcess) struct MessageHeaderTests {
  private let header = MessageHeader(
    stage: 2, codec: 0x0102_0304_0506_0708, step: 0x1112_1314_1516_1718, shard: 0x2122_2324, segment: 0x3132_3334,
    payloadByteCount: 0x4142_4344, sender: 0x5152_5354, samples: 0x6162_6364_6566_6768)

  /// The bytes as they are published, written by hand.
  private let bytes: [UInt8] =
    Array("MRSE".utf8) + [1, 0, 2, 0] + (1...8).reversed() + (0x11...0x18).reversed() + (0x21...0x24).reversed()
    + (0x31...0x34).reversed() + (0x41...0x44).reversed() + (0x51...0x54).reversed() + (0x61...0x68).reversed()
    + Array(repeating: 0, count: 16)

  private func read(_ bytes: [UInt8]) -> MessageHeader? {
    bytes.withUnsafeBytes { MessageHeader(reading: $0.baseAddress!) }
  }

  @Test func bytesAreThosePublished() {
    #expect(MessageHeader.byteCount == 64 && bytes.count == 64)
    var written = [UInt8](repeating: 0xFF, count: 66)
    written.withUnsafeMutableBytes { header.write(to: $0.baseAddress! + 1) }
    #expect(written == [0xFF] + bytes + [0xFF])
    #expect(read(bytes) == header)
  }

  @Test func foreignBytesAreRefused() {
    for index in 0..<6 {
      var damaged = bytes
      damaged[index] ^= 0x10
      #expect(read(damaged) == nil, "byte \(index)")
    }
    #expect(read(Array(repeating: 0, count: 64)) == nil)
  }

  /// Every field is read from where it was written.
  @Test func everyFieldCounts() {
    for index in Array(8..<48) + [6] {
      var changed = bytes
      changed[index] ^= 0x01
      #expect(read(changed) != nil && read(changed) != header, "byte \(index)")
    }
  }
}

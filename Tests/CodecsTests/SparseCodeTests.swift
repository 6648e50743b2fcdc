import Buffers
import Codecs
import Testing

@Suite struct SparseCodeTests {
  private func bytes(_ indices: [UInt32], below bound: Int) -> [UInt8] {
    let code = IndexCode(bound: bound)
    var bytes = [UInt8](repeating: 0xAA, count: code.mostBytes(count: indices.count) + 1)
    let end = bytes.withUnsafeMutableBytes { code.encode(indices, into: $0.baseAddress!) }
    #expect(bytes.removeLast() == 0xAA && end % 4 == 0 && end <= bytes.count)
    return Array(bytes[..<end])
  }

  private func indices(_ bytes: [UInt8], count: Int, below bound: Int) throws -> [UInt32] {
    try bytes.withUnsafeBytes { try IndexCode(bound: bound).decode($0, count: count) }
  }

  @Test("known bytes")
  func known() {
    // Gaps 5, 127 and 866 = 6·128 + 98.
    #expect(bytes([5, 133, 1000], below: 10_000) == [5, 127, 226, 6])
    #expect(bytes([0, 1, 2], below: 100) == [0, 0, 0, 0])
    #expect(bytes([0, 1, 2], below: 50) == [7, 0, 0, 0, 0, 0, 0, 0])
    #expect(bytes([], below: 100) == [])
    // Four of 100 are more than 100/32: a bitmap of 13 bytes.
    #expect(bytes([0, 9, 31, 99], below: 100) == [1, 2, 0, 128, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0])
    #expect(!IndexCode(bound: 96).isBitmap(count: 3) && IndexCode(bound: 96).isBitmap(count: 4))
    #expect(bytes([UInt32.max], below: 1 << 32) == [0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 0, 0])
  }

  @Test("lists come back, and take no more room than was said")
  func roundTrip() throws {
    for bound in [0, 1, 7, 8, 31, 32, 33, 1000, 100_000] {
      for k in [0, 1, bound / 100, bound / 32, bound / 32 + 1, bound / 2, bound] where k <= bound {
        let random = largestMagnitudes(Gradients.wide.values(bound, seed: UInt64(k)), count: bound, k: k).indices
        let ends = Array((0..<UInt32(bound)).suffix(k))
        for list in [random, ends, Array((0..<UInt32(bound)).prefix(k))] where list.count == k {
          #expect(try indices(bytes(list, below: bound), count: k, below: bound) == list)
        }
      }
    }
  }

  @Test("one index in a hundred takes at most 11 bits")
  func size() {
    let list = largestMagnitudes(Gradients.normal.values(200_000), count: 200_000, k: 2000).indices
    #expect(8 * bytes(list, below: 200_000).count <= 11 * 2000)
  }

  @Test("damaged bytes are refused")
  func damage() throws {
    #expect(throws: SparseCodeError.self) { try indices([5, 127, 0x80, 0x80], count: 3, below: 10_000) }
    #expect(throws: SparseCodeError.self) { try indices([5, 127, 100, 1], count: 3, below: 10_000) }
    #expect(throws: SparseCodeError.self) { try indices([5, 127, 100, 0, 0, 0, 0, 0], count: 3, below: 10_000) }
    #expect(throws: SparseCodeError.self) { try indices([5, 127, 100], count: 3, below: 10_000) }
    #expect(throws: SparseCodeError.self) { try indices([0xFF, 0xFF, 0xFF, 0], count: 1, below: 10_000) }
    #expect(throws: SparseCodeError.self) { try indices([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0], count: 1, below: 1 << 32) }
    #expect(throws: SparseCodeError.self) { try indices([0x85, 0, 0, 0], count: 1, below: 10_000) }
    #expect(throws: SparseCodeError.self) { try indices([], count: 11, below: 10) }
    #expect(throws: SparseCodeError.self) { try indices([3, 0, 0, 0], count: 3, below: 20) }
    #expect(throws: SparseCodeError.self) { try indices([0, 0, 0x10, 0], count: 1, below: 20) }
    #expect(throws: SparseCodeError.self) { try indices([1], count: 1, below: 20) }
  }

  @Test("vectors come back bit for bit; damaged ones do not")
  func vectors() throws {
    for (count, k) in [(0, 0), (1, 1), (1000, 0), (1000, 10), (1000, 900), (50_000, 700)] {
      let vector = largestMagnitudes(Gradients.wide.values(count), count: count, k: k)
      let code = SparseCode(count: count)
      var bytes = [UInt8](repeating: 0xAA, count: code.mostBytes(k: k) + 1)
      let end = bytes.withUnsafeMutableBytes { code.encode(vector, into: $0.baseAddress!) }
      #expect(bytes.last == 0xAA && end < bytes.count)
      let copy = try bytes[..<end].withUnsafeBytes { try code.decode($0) }
      #expect(copy == vector)
      #expect(throws: SparseCodeError.self) { _ = try bytes[..<(end - 1)].withUnsafeBytes { try code.decode($0) } }
      guard k > 0 else { continue }
      bytes[3] = 0x7F
      #expect(throws: SparseCodeError.self) { _ = try bytes[..<end].withUnsafeBytes { try code.decode($0) } }
    }
    #expect(throws: SparseCodeError.self) {
      _ = try [UInt8](repeating: 0, count: 3).withUnsafeBytes { try SparseCode(count: 9).decode($0) }
    }
  }
}

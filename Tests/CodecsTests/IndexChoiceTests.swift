import Buffers
import Codecs
import Testing

/// The codes of ascending indices that `chunk-top-k` chooses from.
@Suite struct IndexChoiceTests {
  private func bytes(_ indices: [UInt32], below bound: Int, _ choice: IndexChoice) -> [UInt8] {
    let most = (choice.mostBits(count: indices.count, below: bound) + 7) / 8
    var bytes = [UInt8](repeating: 0xAA, count: most + 1)
    let end = bytes.withUnsafeMutableBytes { choice.encode(indices, below: bound, into: $0.baseAddress!) }
    #expect(end <= most && bytes[end...].allSatisfy { $0 == 0xAA }, "\(choice), \(indices.count) below \(bound)")
    return Array(bytes[..<end])
  }

  private func indices(_ bytes: [UInt8], count: Int, below bound: Int, _ choice: IndexChoice) throws -> [UInt32] {
    try (bytes + [0xFF]).withUnsafeBytes {
      try choice.decode(UnsafeRawBufferPointer(rebasing: $0.dropLast()), count: count, below: bound)
    }
  }

  /// `count` indices drawn at random.
  static func drawn(_ count: Int, below bound: Int, seed: UInt64 = 1) -> [UInt32] {
    largestMagnitudes(Gradients.normal.values(bound, seed: seed), count: bound, k: count).indices
  }

  @Test("known bytes")
  func known() {
    // Lows of two bits 1, 1, 2; highs 1, 2, 3: 0 1, 0 1, 0 1.
    #expect(bytes([5, 9, 14], below: 16, .eliasFano) == [0b1010_0101, 0b1010])
    // r = 2; gaps 5 = 1·4 + 1, 3 = 0·4 + 3 and 4 = 1·4.
    #expect(bytes([5, 9, 14], below: 16, .gaps) == [0b1100_0010, 0b0010_1110])
    #expect(bytes([5, 9, 14], below: 16, .bitmap) == [0b0010_0000, 0b0100_0010])
    // Twelve bits of Elias-Fano are the fewest; two zeros say so.
    #expect(bytes([5, 9, 14], below: 16, .auto) == [0b1001_0100, 0b10_1010])
    // The first of many: five bits for r = 0 and a one for each.
    #expect(bytes([0, 1, 2, 3], below: 4096, .gaps) == [0b1110_0000, 1])
    for choice in IndexChoice.allCases where choice != .auto { #expect(bytes([], below: 3, choice).count <= 1) }
  }

  @Test("lists come back, and take no more bits than was said", arguments: IndexChoice.allCases)
  func roundTrip(choice: IndexChoice) throws {
    for bound in [1, 2, 7, 8, 31, 32, 33, 63, 64, 65, 1000, 4096, 50_000] {
      for k in [0, 1, 2, bound / 100, bound / 64, bound / 32 + 1, bound / 6, bound / 2, bound - 1, bound] where k <= bound {
        let all = (0..<UInt32(bound)).map { $0 }
        for list in [Self.drawn(k, below: bound), Array(all.suffix(k)), Array(all.prefix(k))] where list.count == k {
          #expect(try indices(bytes(list, below: bound, choice), count: k, below: bound, choice) == list)
        }
      }
      let mosts = (0...min(bound, 300)).map { choice.mostBits(count: $0, below: bound) }
      #expect(zip(mosts, mosts.dropFirst()).allSatisfy { $0 <= $1 })
    }
  }

  /// log₂ C(4096, 64) is 474 bits: 7.4 for each index.
  @Test("bits for an index")
  func sizes() {
    let lists = (0..<50).map { Self.drawn(64, below: 4096, seed: $0) }
    func mean(_ choice: IndexChoice) -> Double {
      Double(lists.reduce(0) { $0 + 8 * bytes($1, below: 4096, choice).count }) / Double(64 * lists.count)
    }
    #expect(mean(.eliasFano) <= 8 && mean(.gaps) <= 7.7 && mean(.auto) <= 7.7 && mean(.bitmap) == 64)
    #expect(IndexChoice.eliasFano.mostBits(count: 64, below: 4096) <= 64 * (2 + 6))
    // The shortest of all, and two bits.
    for k in [1, 64, 700, 2000, 4096] {
      let list = Self.drawn(k, below: 4096)
      let others = [IndexChoice.eliasFano, .gaps, .bitmap].map { bytes(list, below: 4096, $0).count }
      #expect(bytes(list, below: 4096, .auto).count <= others.min()! + 1, "\(k)")
    }
    // Where indices crowd together, gaps are far shorter.
    let crowd = Array(100..<UInt32(164))
    #expect(bytes(crowd, below: 4096, .auto).count < bytes(crowd, below: 4096, .eliasFano).count / 2)
  }

  @Test("damaged bytes are refused, whatever they are", arguments: IndexChoice.allCases)
  func damage(choice: IndexChoice) throws {
    let list = Self.drawn(40, below: 1000)
    let code = bytes(list, below: 1000, choice)
    for end in 0..<code.count {
      #expect(throws: SparseCodeError.self, "\(end)") {
        try indices(Array(code[..<end]), count: 40, below: 1000, choice)
      }
    }
    #expect(throws: SparseCodeError.self) { try indices(code + [0], count: 40, below: 1000, choice) }
    #expect(throws: SparseCodeError.self) { try indices(code, count: 41, below: 1000, choice) }
    #expect(throws: SparseCodeError.self) { try indices(code, count: 1001, below: 1000, choice) }
    #expect(throws: SparseCodeError.self) { try indices([], count: 1, below: 0, choice) }
    // Any bytes are refused or a list.
    let random = Philox(seed: 5, purpose: .tests)
    for trial in 0..<2000 {
      var noise = code
      for place in noise.indices where trial < 1000 || random.uniform(place, tensor: trial) < 0.05 {
        noise[place] = UInt8(truncatingIfNeeded: Int(random.uniform(place + 1000, tensor: trial) * 256))
      }
      guard let found = try? indices(noise, count: 40, below: 1000, choice) else { continue }
      #expect(found.count == 40 && found.last! < 1000 && zip(found, found.dropFirst()).allSatisfy { $0 < $1 })
    }
  }
}

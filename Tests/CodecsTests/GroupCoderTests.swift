import Buffers
import Codecs
import Testing

/// What holds for groups whatever encodes them: raw ones, residuals, counts, and taking back.
@Suite struct GroupCoderTests {
  /// A code of one word that carries nothing.
  private struct Nothing: Codec {
    let specification = "nothing"
    let name = "nothing"
    let grouping = Grouping.row
    let isIdentity = false
    var size = 4
    var hasVaryingLength = false
    var written = 4

    func codeByteCount(of count: Int) -> Int { size }
    func encode(
      gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
      context: EncodingContext
    ) -> Int? {
      guard (0..<count).allSatisfy({ gradient[$0].isFinite }) else { return nil }
      for i in 0..<count { residual[i] += gradient[i] }
      for i in 0..<written { code.storeBytes(of: UInt8(context.group), toByteOffset: i, as: UInt8.self) }
      return written
    }
    func decode(
      _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
    ) { for i in 0..<count { values[i] = Float(byteCount) } }
    func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
      for i in 0..<count { values[i] += Float(byteCount) }
    }
  }

  @Test("a group whose code would be no smaller is raw")
  func rawness() {
    #expect(Nothing(size: 8).isRaw(count: 2) && !Nothing(size: 8).isRaw(count: 3))
    #expect(Nothing(size: 8).encodedByteCount(of: 1) == 4 && Nothing(size: 8).encodedByteCount(of: 3) == 8)
    // The length counts.
    #expect(Nothing(size: 8, hasVaryingLength: true).isRaw(count: 3))
    #expect(!Nothing(size: 8, hasVaryingLength: true).isRaw(count: 4))
    #expect(Nothing(size: 8, hasVaryingLength: true).encodedByteCount(of: 4) == 12)
    #expect(!Identity().isRaw(count: 1) && Identity().encodedByteCount(of: 1) == 4)
  }

  @Test("codes of fixed and of varying length follow one another", arguments: [0, 1, 3, 4, 6, 8])
  func lengths(written: Int) {
    let codec = Nothing(size: 8, hasVaryingLength: true, written: written)
    let coder = GroupCoder(codec, count: 30)
    let (values, code) = (FloatBuffer(count: 30), ByteBuffer(count: 64))
    code.baseAddress.initializeMemory(as: UInt8.self, repeating: 0xEE, count: 64)
    var end = 0
    for group in 0..<2 {
      end += coder.encode(
        values.baseAddress, at: 10 * group, count: 10, into: code.baseAddress + end, context: EncodingContext(group: 7))
    }
    let length = 4 + (written + 3) / 4 * 4
    #expect(end == 2 * length)
    // Little endian, and zeros to the end of a word.
    for start in [0, length] {
      #expect(
        (0..<length).map { code.baseAddress.load(fromByteOffset: start + $0, as: UInt8.self) }
          == [UInt8(written), 0, 0, 0] + (0..<length - 4).map { $0 < written ? 7 : 0 })
    }
    #expect(code.baseAddress.load(fromByteOffset: end, as: UInt8.self) == 0xEE)
    #expect(coder.decode(code.baseAddress, count: 10, setting: values.baseAddress) == length)
    #expect(coder.decode(code.baseAddress + length, count: 10, addingTo: values.baseAddress) == length)
    #expect((0..<10).allSatisfy { values[$0] == Float(2 * written) })
    var codes = [UnsafeRawPointer(code.baseAddress), UnsafeRawPointer(code.baseAddress)]
    for group in 0..<2 {
      coder.decodeSum(&codes, codeCount: 2, count: 10, into: values.baseAddress + 10 * group)
      #expect(codes.allSatisfy { $0 == code.baseAddress + (group + 1) * length })
    }
    #expect((0..<20).allSatisfy { values[$0] == Float(2 * written) })
  }

  @Test("an empty code makes +0 of −0 where it is added")
  func zeros() {
    let coder = GroupCoder(Nothing(size: 8, hasVaryingLength: true, written: 0), count: 10)
    let (values, code) = (FloatBuffer(count: 10), ByteBuffer(count: 16))
    for i in 0..<10 { values[i] = -0.0 }
    coder.encode(values.baseAddress, at: 0, count: 10, into: code.baseAddress, context: EncodingContext())
    coder.decode(code.baseAddress, count: 10, addingTo: values.baseAddress)
    #expect((0..<10).allSatisfy { values[$0].bitPattern == 0 })
  }

  @Test(
    "values that are groups by themselves are coded together as one by one", arguments: ["one-bit", "multi-bit:bits=2"],
    [0, 1, 2, 33, 1000])
  func singleValues(name: String, count: Int) throws {
    let codec = try codecs.make(name)
    let spoilt: [Int: Float] = [0: -0.0, 1: .nan, 20: .infinity, 32: -.greatestFiniteMagnitude, 999: -.infinity]
    func coded(_ areSingle: Bool) -> (codes: [UInt32], sums: [UInt32], residual: [UInt32], faults: Int, restored: [UInt32]) {
      let coder = GroupCoder(codec, count: count + 5, isRestorable: true)
      let (gradient, values) = (FloatBuffer(count: count), FloatBuffer(count: count))
      let code = ByteBuffer(count: 4 * count)
      let step = areSingle ? max(count, 1) : 1
      for (index, value) in Gradients.normal.values(count + 5, seed: 3).enumerated() { coder.residual[index] = value }
      if count > 32 { coder.residual[37] = -.greatestFiniteMagnitude }
      for (index, value) in Gradients.normal.values(count, seed: 4).enumerated() { gradient[index] = spoilt[index] ?? value }
      coder.mark()
      for start in stride(from: 0, to: count, by: step) {
        let written = coder.encode(
          gradient.baseAddress + start, at: start + 5, count: step, areSingle: areSingle, into: code.baseAddress + 4 * start,
          context: EncodingContext())
        #expect(written == 4 * step)
      }
      var (codes, sums) = ([UInt32](), [UInt32]())
      for start in stride(from: 0, to: count, by: step) {
        #expect(
          coder.decode(
            code.baseAddress + 4 * start, count: step, areSingle: areSingle, setting: values.baseAddress + start) == 4 * step)
      }
      codes = Array(values.values).patterns
      var places = Array(repeating: UnsafeRawPointer(code.baseAddress), count: 3)
      for start in stride(from: 0, to: count, by: step) {
        coder.decodeSum(&places, codeCount: 3, count: step, areSingle: areSingle, into: values.baseAddress + start)
      }
      #expect(places.allSatisfy { $0 == code.baseAddress + 4 * count })
      sums = Array(values.values).patterns
      let (residual, faults) = (Array(coder.residual.values).patterns, coder.nonFiniteGroups)
      coder.restore()
      return (codes, sums, residual, faults, Array(coder.residual.values).patterns)
    }
    let (together, apart) = (coded(true), coded(false))
    #expect(together.codes == apart.codes && together.sums == apart.sums)
    #expect(together.residual == apart.residual && together.restored == apart.restored)
    #expect(together.faults == apart.faults && together.faults == spoilt.keys.count { $0 > 0 && $0 < count })
  }

  @Test("what is taken back leaves no trace", arguments: ["one-bit", "multi-bit", "none"])
  func restoring(name: String) throws {
    let codec = try codecs.make(name)
    let coder = GroupCoder(codec, count: 70, isRestorable: true)
    let (gradient, code) = (FloatBuffer(count: 70), ByteBuffer(count: 280))
    func encode(_ seed: UInt64, spoiling place: Int? = nil) {
      for (i, value) in Gradients.normal.values(70, seed: seed).enumerated() { gradient[i] = value }
      if let place { gradient[place] = .nan }
      // The last group is raw.
      for group in [0..<40, 40..<68, 68..<70] {
        coder.encode(
          gradient.baseAddress + group.lowerBound, at: group.lowerBound, count: group.count, into: code.baseAddress,
          context: EncodingContext())
      }
    }
    encode(1)
    let before = Array(coder.residual.values)
    #expect(coder.residual.count == (codec.isIdentity ? 0 : 70))
    for place in [3, 50, 69] {
      coder.mark()
      encode(2, spoiling: place)
      #expect(coder.nonFiniteGroups == 1)
      coder.restore()
      #expect(coder.nonFiniteGroups == 0 && Array(coder.residual.values).patterns == before.patterns)
    }
    let other = GroupCoder(codec.isIdentity ? codec : MultiBit(bits: 8), continuing: coder)
    #expect(other.residual === coder.residual && other.nonFiniteGroups == 0)
    coder.clear()
    #expect(other.residual.values.allSatisfy { $0 == 0 })
  }
}

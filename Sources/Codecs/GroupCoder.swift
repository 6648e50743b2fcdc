public import Buffers
internal import Kernels

#if canImport(Glibc)
  internal import Glibc
#endif

/// Encodes groups with error feedback, and decodes them.
///
/// A coder owns the residual of one stream of codes. A group is sent in one of three forms, which both sides know from its
/// length:
///
///     raw       its floats, if its code would be no smaller (`Codec.isRaw(count:)`); nothing stays in the residual
///     code      as the codec wrote it
///     uint32    if the codec's codes vary in length: the number of bytes of the code, then the code and zeros up to a
///               multiple of 4; a length of 0 stands for zeros, and 0x7FC00000 for NaN
///
/// A group whose values or sums are not finite is sent as zeros, or as NaN if the coder ``passesNonFinite``; it keeps its
/// residual, and is counted. Any thread may use a coder, but only one at a time.
public final class GroupCoder {
  /// The codec of the groups.
  public let codec: any Codec
  /// What codes could not carry so far; empty for an identity codec, which loses nothing.
  public let residual: FloatBuffer
  /// The residual before the groups that ``restore()`` takes back were encoded; empty if the coder is not restorable.
  private let kept: FloatBuffer
  /// Whether a group that is not finite is sent as NaN, so that every receiver sees it, instead of as zeros; the same on all
  /// ranks.
  public var passesNonFinite = false
  /// The number of groups that were not finite so far.
  public private(set) var nonFiniteGroups = 0
  private var nonFiniteGroupsBefore = 0
  private let isVarying: Bool
  /// The form of the last group's length; most groups are as long as the one before.
  private var lastForm: GroupForm

  /// Creates a coder of `count` values with a residual of zeros.
  ///
  /// ``restore()`` is possible if it `isRestorable`, which costs a copy of the residual.
  public convenience init(_ codec: any Codec, count: Int, isRestorable: Bool = false) {
    let count = codec.isIdentity ? 0 : count
    self.init(codec, residual: FloatBuffer(count: count), kept: FloatBuffer(count: isRestorable ? count : 0))
  }

  /// Creates a coder of the same stream as `other` that shares its residual; the two must never encode at the same time.
  public convenience init(_ codec: any Codec, continuing other: GroupCoder) {
    require(codec.isIdentity == other.codec.isIdentity, "floats and codes are not one stream")
    self.init(codec, residual: other.residual, kept: other.kept)
  }

  /// Creates a coder that uses `residual`, of the same length as what is encoded.
  public convenience init(_ codec: any Codec, residual: FloatBuffer) {
    self.init(codec, residual: residual, kept: FloatBuffer(count: 0))
  }

  private init(_ codec: any Codec, residual: FloatBuffer, kept: FloatBuffer) {
    (self.codec, self.residual, self.kept) = (codec, residual, kept)
    isVarying = codec.hasVaryingLength
    lastForm = GroupForm(codec, count: 0)
  }

  @inline(__always)
  private func form(of count: Int) -> GroupForm { lastForm.count == count ? lastForm : formAnew(of: count) }

  @inline(never)
  private func formAnew(of count: Int) -> GroupForm {
    lastForm = GroupForm(codec, count: count)
    return lastForm
  }

  // MARK: Encoding

  /// Encodes a group of `count` values whose residual begins at `place`; or as many groups of one value each, which are all sent
  /// raw, if they `areSingle`.
  ///
  /// - Returns: The number of bytes written, a multiple of 4: `Codec.encodedByteCount(of:)`, or at most that if the codec's
  ///   codes vary in length.
  @discardableResult
  public func encode(
    _ gradient: UnsafePointer<Float>, at place: Int, count: Int, areSingle: Bool = false, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int {
    let rest = residual.baseAddress + place
    if kept.count > 0 { memcpy(kept.baseAddress + place, rest, 4 * count) }
    if areSingle { return encodeSingle(gradient, rest, count, code.assumingMemoryBound(to: Float.self)) }
    let form = form(of: count)
    if form.isRaw {
      encodeRaw(gradient, rest, count, code.assumingMemoryBound(to: Float.self))
      return form.byteCount
    }
    let payload = isVarying ? code + GroupForm.lengthByteCount : code
    let written = codec.encode(gradient: gradient, residual: rest, count: count, into: payload, context: context)
    if written == nil { nonFiniteGroups += 1 }
    if isVarying {
      guard written == nil && passesNonFinite else { return frame(written ?? 0, in: code, atMost: form.codeByteCount) }
      code.storeBytes(of: GroupForm.notFinite.littleEndian, as: UInt32.self)
      return GroupForm.lengthByteCount
    }
    // Floats all of whose bits are set are NaN, in the scales of a code as well.
    if written == nil { memset(code, passesNonFinite ? 0xFF : 0, form.byteCount) }
    return form.byteCount
  }

  /// Writes the length of a code in front of it and zeros after it; returns the total number of bytes.
  private func frame(_ byteCount: Int, in code: UnsafeMutableRawPointer, atMost most: Int) -> Int {
    require(byteCount <= most, "\(codec.specification) wrote \(byteCount) bytes where it promises at most \(most)")
    code.storeBytes(of: UInt32(byteCount).littleEndian, as: UInt32.self)
    let padded = (byteCount + 3) / 4 * 4
    memset(code + GroupForm.lengthByteCount + byteCount, 0, padded - byteCount)
    return GroupForm.lengthByteCount + padded
  }

  /// Sends gradient + residual in full, so that no residual stays.
  private func encodeRaw(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, _ count: Int, _ code: UnsafeMutablePointer<Float>
  ) {
    var isFinite = true
    for i in 0..<count {
      code[i] = (gradient[i] + residual[i]) + 0.0
      isFinite = isFinite && code[i].isFinite
    }
    for i in 0..<count {
      if isFinite { residual[i] = 0 } else { code[i] = passesNonFinite ? .nan : 0 }
    }
    if !isFinite { nonFiniteGroups += 1 }
  }

  /// Sends groups of one value each in full, so that none has a residual but those that are not finite.
  private func encodeSingle(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, _ count: Int, _ code: UnsafeMutablePointer<Float>
  ) -> Int {
    require(!codec.isIdentity, "floats have no residual")
    for i in 0..<count {
      let sum = (gradient[i] + residual[i]) + 0.0
      code[i] = sum.isFinite ? sum : passesNonFinite ? .nan : 0
      residual[i] = sum.isFinite ? 0 : residual[i]
      nonFiniteGroups += sum.isFinite ? 0 : 1
    }
    return 4 * count
  }

  // MARK: Decoding

  /// Sets `values` to the decoded group of `count` values, or groups of one value each if they `areSingle`; `streaming` as in
  /// `Codec.decode`.
  ///
  /// - Returns: The number of bytes of the encoded group.
  @discardableResult
  public func decode(
    _ code: UnsafeRawPointer, count: Int, areSingle: Bool = false, setting values: UnsafeMutablePointer<Float>,
    streaming: Bool = false
  ) -> Int {
    // Small groups take about ten nanoseconds, so rare cases are handled elsewhere.
    guard lastForm.count == count && lastForm.isCodeOfFixedLength && !areSingle else {
      return decodeAny(code, count, areSingle, setting: values, streaming)
    }
    codec.decode(code, byteCount: lastForm.byteCount, count: count, setting: values, streaming: streaming)
    return lastForm.byteCount
  }

  @inline(never)
  private func decodeAny(
    _ code: UnsafeRawPointer, _ count: Int, _ areSingle: Bool, setting values: UnsafeMutablePointer<Float>, _ streaming: Bool
  ) -> Int {
    if areSingle {
      copy(code.assumingMemoryBound(to: Float.self), count: count, to: values)
      return 4 * count
    }
    let form = form(of: count)
    if form.isCodeOfFixedLength { return decode(code, count: count, setting: values, streaming: streaming) }
    if form.isRaw {
      copy(code.assumingMemoryBound(to: Float.self), count: count, to: values)
      return form.byteCount
    }
    let (payload, byteCount, end) = unframe(code, atMost: form.codeByteCount)
    if byteCount > 0 {
      codec.decode(payload, byteCount: byteCount, count: count, setting: values, streaming: streaming)
    } else {
      values.update(repeating: byteCount < 0 ? .nan : 0, count: count)
    }
    return end
  }

  /// Adds the decoded group of `count` values to `values`.
  ///
  /// - Returns: The number of bytes of the encoded group.
  @discardableResult
  public func decode(_ code: UnsafeRawPointer, count: Int, addingTo values: UnsafeMutablePointer<Float>) -> Int {
    guard lastForm.count == count && lastForm.isCodeOfFixedLength else { return decodeAny(code, count, addingTo: values) }
    codec.decode(code, byteCount: lastForm.byteCount, count: count, addingTo: values)
    return lastForm.byteCount
  }

  @inline(never)
  private func decodeAny(_ code: UnsafeRawPointer, _ count: Int, addingTo values: UnsafeMutablePointer<Float>) -> Int {
    let form = form(of: count)
    if form.isCodeOfFixedLength { return decode(code, count: count, addingTo: values) }
    if form.isRaw {
      add(code.assumingMemoryBound(to: Float.self), count: count, to: values)
      return form.byteCount
    }
    let (payload, byteCount, end) = unframe(code, atMost: form.codeByteCount)
    if byteCount > 0 {
      codec.decode(payload, byteCount: byteCount, count: count, addingTo: values)
    } else {
      // Turns −0 into +0.
      for i in 0..<count { values[i] += byteCount < 0 ? .nan : 0 }
    }
    return end
  }

  /// Sets `values` to the sum of decoded groups of `count` values, or of one value each if they `areSingle`, added in the given
  /// order in fp32, and advances each of `codes` past its groups.
  public func decodeSum(
    _ codes: UnsafeMutablePointer<UnsafeRawPointer>, codeCount: Int, count: Int, areSingle: Bool = false,
    into values: UnsafeMutablePointer<Float>
  ) {
    require(codeCount > 0, "a sum needs a code")
    let form = areSingle ? GroupForm(single: count) : form(of: count)
    if form.isCodeOfFixedLength {
      codec.decodeSum(codes, codeCount: codeCount, count: count, into: values)
    } else if form.isRaw {
      UnsafePointer(codes).withMemoryRebound(to: UnsafePointer<Float>.self, capacity: codeCount) {
        orderedSum($0, termCount: codeCount, count: count, into: values)
      }
    } else if codec.dividesBySenders {
      return decodeSumBySenders(codes, codeCount: codeCount, count: count, into: values)
    } else {
      codes[0] += decode(codes[0], count: count, setting: values)
      for k in stride(from: 1, to: codeCount, by: 1) { codes[k] += decode(codes[k], count: count, addingTo: values) }
      return
    }
    for k in 0..<codeCount { codes[k] += form.byteCount }
  }

  /// The start of a code that follows its length, its number of bytes (−1 if it stands for NaN), and the number of bytes
  /// including the length.
  private func unframe(
    _ code: UnsafeRawPointer, atMost most: Int
  ) -> (payload: UnsafeRawPointer, byteCount: Int, end: Int) {
    let length = UInt32(littleEndian: code.load(as: UInt32.self))
    if length == GroupForm.notFinite { return (code, -1, GroupForm.lengthByteCount) }
    let byteCount = Int(length)
    require(byteCount <= most, "a code of \(byteCount) bytes where \(codec.specification) writes at most \(most)")
    return (code + GroupForm.lengthByteCount, byteCount, GroupForm.lengthByteCount + (byteCount + 3) / 4 * 4)
  }

  // MARK: Taking back

  /// Starts a section that ``restore()`` can take back, in which each group is encoded once.
  public func mark() { nonFiniteGroupsBefore = nonFiniteGroups }

  /// Restores the residual and the count as of ``mark()``; every group with a residual must have been encoded since.
  public func restore() {
    require(kept.count == residual.count, "a coder keeps no copy of its residual")
    residual.copy(from: kept)
    nonFiniteGroups = nonFiniteGroupsBefore
  }

  /// Sets the residual to zero.
  public func clear() { residual.clear() }
}

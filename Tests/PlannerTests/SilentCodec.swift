import Codecs

/// A code of which nothing arrives, in no time and with no bytes to speak of.
struct SilentCodec: Codec {
  let name = "silent"
  let specification = "silent"
  let isIdentity = false
  let grouping = Grouping.elements(512)
  func codeByteCount(of count: Int) -> Int { 4 }
  func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    for i in 0..<count { residual[i] += gradient[i] }
    code.storeBytes(of: 0, as: UInt32.self)
    return 4
  }
  func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) { values.update(repeating: 0, count: count) }
  func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {}
}

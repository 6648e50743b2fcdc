/// A group sent as its floats, because its code would be longer: all of gradient + residual leaves, and no residual stays.
///
/// Returns false, with the residual untouched and zeros sent, where a value is not finite.
func encodePlain(
  _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, _ count: Int, _ code: UnsafeMutablePointer<Float>
) -> Bool {
  var isFinite = true
  for i in 0..<count {
    code[i] = (gradient[i] + residual[i]) + 0.0
    isFinite = isFinite && code[i].isFinite
  }
  for i in 0..<count {
    if isFinite { residual[i] = 0 } else { code[i] = 0 }
  }
  return isFinite
}

/// The loops of the codec `MultiBit` for groups whose slots are too narrow for fp32: those of `Kernel` on values that are 2⁶⁴ times as
/// large, which loses nothing on the way up and is rounded once on the way down.
enum LiftedLanes<Kernel: MultiBitKernel>: MultiBitKernel {
  static func encode(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, _ count: Int, _ scale: Scale,
    into codes: UnsafeMutableRawPointer
  ) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * count) { room in
      let (lifted, rest) = (room.baseAddress!, room.baseAddress! + count)
      for i in 0..<count {
        lifted[i] = 0x1p64 * ((gradient[i] + residual[i]) + 0)
        rest[i] = 0
      }
      Kernel.encode(lifted, rest, count, scale.lifted, into: codes)
      // What is missing is missing from what the other side decodes.
      decode(codes, count, scale, into: lifted)
      for i in 0..<count { residual[i] = ((gradient[i] + residual[i]) + 0) - lifted[i] }
    }
  }

  static func decode(_ codes: UnsafeRawPointer, _ count: Int, _ scale: Scale, into values: UnsafeMutablePointer<Float>) {
    Kernel.decode(codes, count, scale.lifted, into: values)
    for i in 0..<count { values[i] *= 0x1p-64 }
  }

  static func decode(_ codes: UnsafeRawPointer, _ count: Int, _ scale: Scale, addingTo values: UnsafeMutablePointer<Float>) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { decoded in
      decode(codes, count, scale, into: decoded.baseAddress!)
      for i in 0..<count { values[i] += decoded[i] }
    }
  }
}

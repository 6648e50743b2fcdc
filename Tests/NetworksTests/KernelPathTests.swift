import Buffers
import Kernels
import Networks
import Testing

/// The loops of this processor's vectors have the bits of those that run everywhere.
@Suite(.serialized) struct KernelPathTests {
  /// Sizes that fill no lanes, and values from where exponentials vanish to where they are largest, and beyond.
  @Test(arguments: [1, 15, 16, 37, 100]) func pathsHaveTheSameBits(_ count: Int) {
    let values = FloatBuffer(count: count)
    let incoming = FloatBuffer(count: count)
    let random = Philox(seed: 5, purpose: .tests, stream: count)
    for index in 0..<count {
      values[index] = (random.uniform(index) - 0.5) * [2, 20, 190][index % 3]
      incoming[index] = random.uniform(index, tensor: 1)
    }
    if count == 100 { (values[3], values[50], values[99]) = (.infinity, -.infinity, .nan) }
    func bits(_ path: KernelPath) -> [UInt32] {
      let current = KernelPath.current
      KernelPath.select(path)
      defer { KernelPath.select(current) }
      let outputs = FloatBuffer(count: 4 * count)
      func part(_ number: Int) -> UnsafeMutablePointer<Float> { outputs.baseAddress + number * count }
      Activation.gelu.forward(values.baseAddress, count: count, into: part(0))
      part(1).update(from: incoming.baseAddress, count: count)
      Activation.gelu.backward(values.baseAddress, count: count, gradient: part(1))
      part(2).update(from: values.baseAddress, count: count)
      causalSoftmax(part(2), live: count, count: count)
      part(3).update(from: values.baseAddress, count: count)
      causalSoftmax(part(3), live: (count + 1) / 2, count: count)
      // One NaN is as good as another.
      return (0..<outputs.count).map { outputs[$0].isNaN ? 0x7FC0_0000 : outputs[$0].bitPattern }
    }
    let expected = bits(.portable)
    for path in KernelPath.available { #expect(bits(path) == expected, "\(path)") }
  }
}

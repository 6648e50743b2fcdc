package import Buffers
internal import CDNN

/// What a convolution reads and writes: images of one shape, and filters that move over them.
package struct ConvolutionGeometry: Hashable, Sendable {
  /// The shape of an input.
  package let input: SampleShape
  /// The number of filters, which are the channels of the output.
  package let filterCount: Int
  /// The height and the width of a filter.
  package let kernel: (height: Int, width: Int)
  /// The distance of neighbouring places of a filter, in pixels.
  package let stride: Int
  /// The zeros around an image, in pixels on each side.
  package let padding: Int

  /// A geometry; nil if a filter does not fit on a padded image.
  package init?(input: SampleShape, filterCount: Int, kernel: (height: Int, width: Int), stride: Int, padding: Int) {
    guard kernel.height <= input.height + 2 * padding, kernel.width <= input.width + 2 * padding else { return nil }
    (self.input, self.filterCount, self.kernel, self.stride, self.padding) = (input, filterCount, kernel, stride, padding)
  }

  /// The shape of an output.
  package var output: SampleShape {
    SampleShape(
      height: (input.height + 2 * padding - kernel.height) / stride + 1,
      width: (input.width + 2 * padding - kernel.width) / stride + 1, channels: filterCount)
  }

  /// The shape of the weights: filters × channels × height × width.
  package var weightShape: [Int] { [filterCount, input.channels, kernel.height, kernel.width] }

  package static func == (a: ConvolutionGeometry, b: ConvolutionGeometry) -> Bool {
    a.input == b.input && a.filterCount == b.filterCount && a.kernel == b.kernel && a.stride == b.stride
      && a.padding == b.padding
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(input)
    hasher.combine(filterCount)
  }
}

/// The passes of a convolution over minibatches of one size, as oneDNN prepares them; in one thread at a time.
///
/// With one thread, and with one number of threads on one machine, the same inputs give the same bits every time. Pointers go to
/// samples × height × width × channels, and to weights of filters × channels × height × width.
package final class ConvolutionPasses {
  private let passes: OpaquePointer
  /// The bytes of scratch memory that a call needs, aligned to a cache line.
  package let scratchByteCount: Int

  /// Prepares the passes, which takes about a millisecond; that to the gradient of the inputs only if `givesInputGradient`.
  package init(_ geometry: ConvolutionGeometry, sampleCount: Int, givesInputGradient: Bool) {
    let (input, kernel) = (geometry.input, geometry.kernel)
    var shape = CDNN_Shape(
      samples: Int64(sampleCount), height: Int64(input.height), width: Int64(input.width), channels: Int64(input.channels),
      filters: Int64(geometry.filterCount), kernel_height: Int64(kernel.height), kernel_width: Int64(kernel.width),
      stride: Int64(geometry.stride), padding: Int64(geometry.padding))
    var status: CInt = 0
    guard let passes = CDNN_convolution_create(&shape, givesInputGradient ? 1 : 0, &status) else {
      fatalError(
        "oneDNN makes no convolution \(kernel.height)×\(kernel.width) of \(sampleCount) samples of \(input): status \(status)")
    }
    self.passes = passes
    scratchByteCount = CDNN_convolution_scratch(passes)
  }

  deinit { CDNN_convolution_destroy(passes) }

  /// outputs = biases + inputs ∗ weights; without biases they are 0.
  package func forward(
    _ inputs: UnsafePointer<Float>, weights: UnsafePointer<Float>, biases: UnsafePointer<Float>?,
    into outputs: UnsafeMutablePointer<Float>, scratch: UnsafeMutableRawPointer
  ) {
    check(CDNN_convolution_forward(passes, inputs, weights, biases, outputs, scratch))
  }

  /// The gradient of the inputs, from that of the outputs.
  package func backward(
    _ outputGradient: UnsafePointer<Float>, weights: UnsafePointer<Float>, into inputGradient: UnsafeMutablePointer<Float>,
    scratch: UnsafeMutableRawPointer
  ) {
    check(CDNN_convolution_data(passes, outputGradient, weights, inputGradient, scratch))
  }

  /// The gradients of weights and biases, if there are some; sums over samples and places.
  package func gradients(
    _ inputs: UnsafePointer<Float>, _ outputGradient: UnsafePointer<Float>, weights: UnsafeMutablePointer<Float>,
    biases: UnsafeMutablePointer<Float>?, scratch: UnsafeMutableRawPointer
  ) {
    check(CDNN_convolution_weights(passes, inputs, outputGradient, weights, biases, scratch))
  }

  private func check(_ status: CInt) {
    require(status == 0, "a convolution of oneDNN fails with status \(status)")
  }
}

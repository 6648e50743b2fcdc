/// An image in fp64; values lie by rows, pixels and channels.
struct ReferenceImage {
  var (height, width, channels): (Int, Int, Int)
  var values: [Double]

  /// A value; 0 outside of the image.
  func value(_ row: Int, _ column: Int, _ channel: Int) -> Double {
    guard row >= 0, row < height, column >= 0, column < width else { return 0 }
    return values[(row * width + column) * channels + channel]
  }

  /// The channels of each pixel.
  var pixels: [[Double]] {
    (0..<height * width).map { Array(values[$0 * channels..<($0 + 1) * channels]) }
  }
}

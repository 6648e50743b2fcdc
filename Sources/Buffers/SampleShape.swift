/// The shape of a sample: an image of height × width pixels with channels, or of one pixel for values without a place.
///
/// In memory the channels of a pixel lie beside each other, then the pixels of a row, then the rows.
public struct SampleShape: Hashable, Sendable, CustomStringConvertible {
  /// Rows of pixels.
  public let height: Int
  /// Pixels of a row.
  public let width: Int
  /// Values of a pixel.
  public let channels: Int

  /// An image of these sizes, each at least 1.
  public init(height: Int, width: Int, channels: Int) {
    require(min(height, width, channels) > 0, "a sample of \(height)×\(width)×\(channels) has no values")
    (self.height, self.width, self.channels) = (height, width, channels)
  }

  /// The number of pixels.
  public var pixelCount: Int { height * width }
  /// The number of values.
  public var count: Int { height * width * channels }

  /// For example `28×28×1`.
  public var description: String { "\(height)×\(width)×\(channels)" }
}

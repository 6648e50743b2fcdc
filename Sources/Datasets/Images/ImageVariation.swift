internal import Buffers

/// A random crop of an image with a margin around it, and a mirror image half the time.
///
/// Source: He et al. 2016, "Deep residual learning for image recognition", section 4.2.
struct ImageVariation: Hashable, Sendable {
  /// The rows by which the crop lies below the image, negative if above.
  let down: Int
  /// The columns by which the crop lies to the right of the image, negative if to the left.
  let right: Int
  /// Whether left and right are exchanged after cropping.
  let isMirrored: Bool

  /// A crop that moves by up to `margin` pixels either way, each move equally likely.
  init(_ random: Philox, margin: Int) {
    (down, right) = (random.integer(0, below: 2 * margin + 1) - margin, random.integer(1, below: 2 * margin + 1) - margin)
    isMirrored = random.integer(2, below: 2) == 1
  }

  /// The pixel of a plane of `side` × `side` bytes that appears at (row, column); `ground` outside.
  func pixel(_ row: Int, _ column: Int, of plane: UnsafePointer<UInt8>, side: Int, ground: UInt8 = 0) -> UInt8 {
    let (row, column) = (row + down, (isMirrored ? side - 1 - column : column) + right)
    return (0..<side).contains(row) && (0..<side).contains(column) ? plane[row * side + column] : ground
  }
}

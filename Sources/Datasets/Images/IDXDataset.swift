public import Buffers

/// Images and labels in the four IDX files of MNIST and similar data sets.
///
/// Pixels stay bytes in memory, and are standardised when read, by the mean and deviation of all training pixels.
public final class IDXDataset: Dataset {
  public let specification: String
  public let kind: SampleForm.Kind
  public let featureCount: Int
  public let classCount: Int
  public let fingerprint: UInt64

  private struct Part: Sendable {
    let images: IDXFile
    let labels: IDXFile
  }
  private let parts: [Part]
  private let scale: PixelScale

  /// Reads the four IDX files and checks them against one another.
  ///
  /// They are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, or
  /// their `.gz` forms, or those with a dot before `idx`. The fingerprint covers the contents of the files, so that it is the
  /// same for compressed and plain files.
  public init(directory: String, classCount: Int = 10, specification: String) throws(DataError) {
    let present = try namesInDirectory(directory, advice: "idx:DIR is the directory of the four IDX files")
    guard !present.isEmpty else {
      throw DataError("the directory '\(directory)' is empty; idx:DIR is the directory of the four IDX files")
    }
    var parts: [Part] = []
    for prefix in ["train", "t10k"] {
      let images = try IDXFile("\(prefix)-images-idx3-ubyte", in: directory, dimensionCount: 3)
      let labels = try IDXFile("\(prefix)-labels-idx1-ubyte", in: directory, dimensionCount: 1)
      guard images.shape[0] == labels.shape[0] else {
        throw DataError(
          "'\(images.path)' has \(images.shape[0]) images, and '\(labels.path)' \(labels.shape[0]) labels; "
            + "the two files do not belong together"
        )
      }
      if let place = labels.values.firstIndex(where: { Int($0) >= classCount }) {
        throw DataError(
          "'\(labels.path)': label \(place - labels.headerByteCount) is \(labels.content[place]), "
            + "but there are \(classCount) classes; say how many with classes=N"
        )
      }
      parts.append(Part(images: images, labels: labels))
    }
    let (train, test) = (parts[0].images, parts[1].images)
    guard train.shape.dropFirst() == test.shape.dropFirst() else {
      throw DataError(
        "'\(train.path)' has images of \(describe(Array(train.shape.dropFirst()))) pixels, "
          + "and '\(test.path)' of \(describe(Array(test.shape.dropFirst()))); they do not belong together"
      )
    }
    let (mean, deviation) = train.values.withUnsafeBufferPointer { momentsOfBytes($0) }
    guard deviation > 0 else {
      throw DataError("'\(train.path)': all pixels are \(Int(mean)), so there is nothing to learn from; fetch it again")
    }
    self.parts = parts
    self.classCount = classCount
    self.specification = specification
    featureCount = train.shape[1] * train.shape[2]
    kind = .image(SampleShape(height: train.shape[1], width: train.shape[2], channels: 1))
    scale = PixelScale(mean: mean, deviation: deviation)
    fingerprint = combinedHash(parts.flatMap { [$0.images.content, $0.labels.content] }.map(hash))
  }

  public func count(_ split: Split) -> Int { parts[split.rawValue].labels.shape[0] }

  public func read(
    _ index: Int, of split: Split, variation: Philox?, into inputs: UnsafeMutablePointer<Float>,
    labels: UnsafeMutablePointer<Int32>
  ) {
    parts[split.rawValue].images.values.withUnsafeBufferPointer { pixels in
      scale.standardize(pixels.baseAddress! + index * featureCount, count: featureCount, into: inputs)
    }
    labels[0] = Int32(label(index, of: split))
  }

  public func label(_ index: Int, of split: Split) -> Int {
    let labels = parts[split.rawValue].labels
    return Int(labels.content[labels.headerByteCount + index])
  }
}

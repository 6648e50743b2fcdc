public import Buffers

/// Samples and their classes in the four NumPy array files `x_train.npy`, `y_train.npy`, `x_test.npy` and `y_test.npy`.
///
/// Inputs are uint8, float32 or float64 and stay so in memory: samples × features, or images, samples × height × width, with
/// channels as the last axis or before the height. When a sample is read, each feature, or each channel of an image, is
/// standardised by its mean and deviation over the training samples; one that never varies is 0. Images become channels-last.
public final class NumpyDataset: Dataset {
  /// Where the channels of images stand.
  public enum Layout: String, CaseIterable, Sendable {
    /// Samples × height × width × channels.
    case nhwc
    /// Samples × channels × height × width.
    case nchw
  }

  public let specification: String
  public let kind: SampleForm.Kind
  public let featureCount: Int
  /// The largest label of both splits and one more.
  public let classCount: Int
  public let fingerprint: UInt64

  private let inputs: [NumpyArray]
  private let labels: [[Int32]]
  private let order: ValueOrder
  private let scales: [ValueScale]

  /// Reads the four files, or their `.gz` forms, and checks them against one another.
  ///
  /// The fingerprint covers the contents of the files.
  ///
  /// - Parameters:
  ///   - directory: where the files are.
  ///   - layout: where the channels of images of four axes stand.
  ///   - isStandardised: whether inputs are standardised, or left as they are.
  ///   - specification: the specification as it was written.
  public init(
    directory: String, layout: Layout = .nhwc, isStandardised: Bool = true, specification: String
  ) throws(DataError) {
    _ = try namesInDirectory(
      directory, advice: "npy:DIR is the directory of x_train.npy, y_train.npy, x_test.npy and y_test.npy")
    var (inputs, labels, hashes): ([NumpyArray], [[Int32]], [UInt64]) = ([], [], [])
    for part in ["train", "test"] {
      let x = try NumpyArray("x_\(part).npy", in: directory, elements: [.uint8, .float32, .float64])
      let y = try NumpyArray("y_\(part).npy", in: directory, elements: NumpyHeader.Element.integers)
      inputs.append(x)
      labels.append(try readLabels(y, of: x))
      hashes += [x.fingerprint, y.fingerprint]
    }
    let (train, test) = (inputs[0], inputs[1])
    let order = try ValueOrder(train, layout: layout)
    guard train.shape.dropFirst() == test.shape.dropFirst() else {
      throw DataError(
        "'\(train.path)' has samples of shape \(describe(Array(train.shape.dropFirst()))), and '\(test.path)' of "
          + "\(describe(Array(test.shape.dropFirst()))); they do not belong together")
    }
    let moments = try inputs.map { array throws(DataError) in try measure(array, order) }
    guard moments[0].contains(where: { $0.factor > 0 }) else {
      throw DataError("'\(train.path)': all samples are the same, so there is nothing to learn from; save others")
    }
    let largest = labels.joined().max()!
    guard largest > 0 else {
      throw DataError("'\(directory)': all labels are 0, so there is nothing to learn; save labels of two classes or more")
    }
    scales = isStandardised ? moments[0] : moments[0].map { _ in ValueScale() }
    (self.inputs, self.labels, self.order, self.specification) = (inputs, labels, order, specification)
    featureCount = train.sampleSize
    classCount = Int(largest) + 1
    kind = order.kind
    fingerprint = combinedHash(hashes)
  }

  public func count(_ split: Split) -> Int { labels[split.rawValue].count }

  public func label(_ index: Int, of split: Split) -> Int { Int(labels[split.rawValue][index]) }

  public func read(
    _ index: Int, of split: Split, variation: Philox?, into inputs: UnsafeMutablePointer<Float>,
    labels: UnsafeMutablePointer<Int32>
  ) {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: featureCount) { values in
      self.inputs[split.rawValue].read(index, into: values.baseAddress!)
      for place in 0..<featureCount {
        inputs[order.places[place]] = scales[order.columns[place]].value(of: values[place])
      }
    }
    labels[0] = Int32(label(index, of: split))
  }
}

/// The largest number of classes.
private let classLimit = 1 << 20

/// The labels of the samples `x`: one for each, from 0.
private func readLabels(_ y: NumpyArray, of x: NumpyArray) throws(DataError) -> [Int32] {
  guard y.sampleSize == 1, y.shape.count <= 2 else {
    throw DataError("'\(y.path)' has the shape \(describe(y.shape)), and labels have one value for each sample: save it flat")
  }
  guard y.shape[0] == x.shape[0] else {
    throw DataError(
      "'\(x.path)' has \(x.shape[0]) samples, and '\(y.path)' \(y.shape[0]) labels; the two files do not belong together")
  }
  try DataError.requireMemory(y.shape[0] * MemoryLayout<Int32>.size, of: y.path)
  var labels: [Int32] = []
  labels.reserveCapacity(y.shape[0])
  for sample in 0..<y.shape[0] {
    guard let label = y.integer(sample), (0..<classLimit).contains(label) else {
      let found = y.integer(sample).map(String.init) ?? "above \(Int.max)"
      throw DataError("'\(y.path)': label \(sample) is \(found); labels are whole numbers of 0 to \(classLimit - 1)")
    }
    labels.append(Int32(label))
  }
  return labels
}

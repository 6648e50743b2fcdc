internal import Buffers

/// What each value of a sample in an array file is: the feature or channel that it belongs to, and its place among the inputs.
struct ValueOrder: Sendable {
  /// What samples are.
  let kind: SampleForm.Kind
  /// The number of features, or of channels of an image.
  let columnCount: Int
  /// The feature or channel of each value, in the order of the file.
  let columns: [Int]
  /// The place of each value among the inputs.
  let places: [Int]

  /// The order of the samples of an array of two to four axes.
  init(_ array: NumpyArray, layout: NumpyDataset.Layout) throws(DataError) {
    let axes = Array(array.shape.dropFirst())
    guard (1...3).contains(axes.count) else {
      throw DataError(
        "'\(array.path)' has the shape \(describe(array.shape)); save samples × features, samples × height × width, or "
          + "samples × height × width × channels")
    }
    guard layout == .nhwc || axes.count == 3 else {
      throw DataError(
        "'\(array.path)' has the shape \(describe(array.shape)), and layout=nchw is for samples × channels × height × width; "
          + "leave it out")
    }
    let all = 0..<array.sampleSize
    if axes.count == 1 {
      (kind, columnCount, columns, places) = (.values, axes[0], Array(all), Array(all))
    } else if layout == .nchw {
      let (channels, pixels) = (axes[0], axes[1] * axes[2])
      kind = .image(SampleShape(height: axes[1], width: axes[2], channels: channels))
      (columnCount, columns, places) = (channels, all.map { $0 / pixels }, all.map { $0 % pixels * channels + $0 / pixels })
    } else {
      let channels = axes.count == 3 ? axes[2] : 1
      kind = .image(SampleShape(height: axes[0], width: axes[1], channels: channels))
      (columnCount, columns, places) = (channels, all.map { $0 % channels }, Array(all))
    }
  }
}

/// Converts values of a feature or channel to inputs: (value − mean) · factor, in fp64.
struct ValueScale: Sendable {
  /// What is subtracted.
  var mean = 0.0
  /// One over the deviation; 0 for values that never vary.
  var factor = 1.0

  /// The input.
  func value(of value: Double) -> Float { Float((value - mean) * factor) }
}

/// The scale of each feature or channel of an array: sums in fp64 in the order of the file, the same bits on every machine.
///
/// Throws `DataError` if a value is not finite in fp32.
func measure(_ array: NumpyArray, _ order: ValueOrder) throws(DataError) -> [ValueScale] {
  let sampleCount = array.shape[0]
  var values = [Double](repeating: 0, count: array.sampleSize)
  var (least, most) = (
    [Double](repeating: .infinity, count: order.columnCount), [Double](repeating: -.infinity, count: order.columnCount)
  )
  var (sums, squares) = ([Double](repeating: 0, count: order.columnCount), [Double](repeating: 0, count: order.columnCount))
  for sample in 0..<sampleCount {
    array.read(sample, into: &values)
    for (place, value) in values.enumerated() {
      guard abs(value) <= Double(Float.greatestFiniteMagnitude) else {
        throw DataError(
          "'\(array.path)': value \(place) of sample \(sample) is \(value); inputs are finite numbers that fp32 can hold")
      }
      let column = order.columns[place]
      (least[column], most[column]) = (min(least[column], value), max(most[column], value))
      sums[column] += value
    }
  }
  let count = Double(sampleCount * (array.sampleSize / order.columnCount))
  let means = sums.map { $0 / count }
  for sample in 0..<sampleCount {
    array.read(sample, into: &values)
    for (place, value) in values.enumerated() {
      let column = order.columns[place]
      squares[column] += (value - means[column]) * (value - means[column])
    }
  }
  return means.indices.map { column in
    let deviation = (squares[column] / count).squareRoot()
    return ValueScale(mean: means[column], factor: least[column] < most[column] && deviation > 0 ? 1 / deviation : 0)
  }
}

public import Buffers

/// Colour images of 32 × 32 pixels in ten classes, in the files of CIFAR-10's binary version.
///
/// Pixels stay bytes in memory. When an image is read, each channel is standardised by its mean and deviation over the training
/// images, and lies channels-last. A varied image is moved by up to 4 pixels either way, black pixels following, and mirrored half
/// the time.
public final class CIFAR10Dataset: Dataset {
  public let specification: String
  public let kind = SampleForm.Kind.image(
    SampleShape(height: CIFARBatch.side, width: CIFARBatch.side, channels: CIFARBatch.channelCount))
  public let featureCount = CIFARBatch.channelCount * CIFARBatch.planeSize
  public let classCount = CIFARBatch.classCount
  public let fingerprint: UInt64

  /// The files of one split, and the number of records before each and after the last.
  private struct Part: Sendable {
    private(set) var batches: [CIFARBatch] = []
    private var starts = [0]
    var count: Int { starts.last! }

    mutating func append(_ batch: CIFARBatch) {
      batches.append(batch)
      starts.append(count + batch.count)
    }

    /// The file that holds record `index`, and its place there.
    func place(of index: Int) -> (batch: CIFARBatch, record: Int) {
      let file = batches.indices.last { starts[$0] <= index }!
      return (batches[file], index - starts[file])
    }
  }
  private let parts: [Part]
  private let scales: [PixelScale]
  private let isVaried: Bool

  /// The pixels by which a varied image moves at most.
  package static let margin = 4

  /// Reads `data_batch_1.bin` to `data_batch_5.bin`, as many as there are, and `test_batch.bin`, or their `.gz` forms.
  ///
  /// The fingerprint covers the records in use.
  ///
  /// - Parameters:
  ///   - directory: where the files are.
  ///   - trainCount: the number of training images, the first ones; nil for all.
  ///   - testCount: the number of test images, the first ones; nil for all.
  ///   - isVaried: whether training images are varied.
  ///   - specification: the specification as it was written.
  public init(
    directory: String, trainCount: Int? = nil, testCount: Int? = nil, isVaried: Bool = true, specification: String
  ) throws(DataError) {
    let advice =
      "cifar10:DIR is the directory of CIFAR-10's binary version: data_batch_1.bin … data_batch_5.bin, test_batch.bin"
    _ = try namesInDirectory(directory, advice: advice)
    let trainFiles = (1...5).compactMap { firstFile(of: ["data_batch_\($0).bin"], in: directory) }
    guard !trainFiles.isEmpty else {
      throw DataError("'\(directory)' holds no data_batch_1.bin to data_batch_5.bin; \(advice)")
    }
    guard let testFile = firstFile(of: ["test_batch.bin"], in: directory) else {
      throw DataError("'\(directory)' holds no test_batch.bin; \(advice)")
    }
    var parts: [Part] = []
    for (key, files, limit) in [("train", trainFiles, trainCount), ("test", [testFile], testCount)] {
      var part = Part()
      for path in files where limit == nil || part.count < limit! {
        part.append(try CIFARBatch(path, atMost: limit.map { $0 - part.count }))
      }
      if let limit, part.count < limit {
        throw DataError(
          "'\(directory)' holds \(part.count) \(key == "train" ? "training" : "test") images, fewer than \(key)=\(limit) asks for; "
            + "leave \(key)= out")
      }
      parts.append(part)
    }
    var histograms = Array(repeating: ByteHistogram(), count: CIFARBatch.channelCount)
    for batch in parts[0].batches { batch.count(into: &histograms) }
    let moments = histograms.map(\.moments)
    for (channel, name) in ["red", "green", "blue"].enumerated() where moments[channel].deviation == 0 {
      throw DataError(
        "'\(trainFiles[0])': all values of \(name) are \(Int(moments[channel].mean)), so there is nothing to learn from; "
          + "fetch it again")
    }
    self.parts = parts
    self.isVaried = isVaried
    self.specification = specification
    scales = moments.map { PixelScale(mean: $0.mean, deviation: $0.deviation) }
    fingerprint = combinedHash(parts.flatMap { [UInt64($0.count)] + $0.batches.map(\.hash) })
  }

  public func count(_ split: Split) -> Int { parts[split.rawValue].count }

  public func label(_ index: Int, of split: Split) -> Int {
    let (batch, record) = parts[split.rawValue].place(of: index)
    return batch.label(record)
  }

  public func read(
    _ index: Int, of split: Split, variation: Philox?, into inputs: UnsafeMutablePointer<Float>,
    labels: UnsafeMutablePointer<Int32>
  ) {
    let (batch, record) = parts[split.rawValue].place(of: index)
    let change = split == .train && isVaried ? variation.map { ImageVariation($0, margin: Self.margin) } : nil
    let side = CIFARBatch.side
    batch.withPlanes(of: record) { planes in
      for (channel, scale) in scales.enumerated() {
        let plane = planes + channel * CIFARBatch.planeSize
        for row in 0..<side {
          for column in 0..<side {
            let place = row * side + column
            let byte = change?.pixel(row, column, of: plane, side: side) ?? plane[place]
            inputs[place * scales.count + channel] = scale.value(of: byte)
          }
        }
      }
    }
    labels[0] = Int32(batch.label(record))
  }
}

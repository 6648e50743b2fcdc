import Buffers
import Datasets
import Testing

/// A file as numpy.save writes it.
private func npy(_ type: String, _ shape: [Int], _ values: [UInt8], order: String = "False") -> [UInt8] {
  let axes = shape.map { "\($0)," }.joined(separator: " ")
  let text = "{'descr': \(type), 'fortran_order': \(order), 'shape': (\(shape.count > 1 ? String(axes.dropLast()) : axes)), }"
  let padded = text + String(repeating: " ", count: 117 - text.utf8.count) + "\n"
  return [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + Array(padded.utf8) + values
}

private func floats(_ values: [Float]) -> [UInt8] { values.flatMap { littleEndian(Int($0.bitPattern), byteCount: 4) } }

private func doubles(_ values: [Double]) -> [UInt8] {
  values.flatMap { value in (0..<8).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * UInt64($0))) } }
}

/// Three training and two test samples of two features.
private let good: [String: [UInt8]] = [
  "x_train.npy": npy("'<f4'", [3, 2], floats([1, 10, 2, 10, 6, 10])), "y_train.npy": npy("'<i8'", [3], doubles([0, 0, 0])),
  "x_test.npy": npy("'<f4'", [2, 2], floats([3, 10, -1, 12])), "y_test.npy": npy("'|u1'", [2, 1], [4, 1]),
]

@Suite struct NumpyDatasetTests {
  /// Reads the good files with some changed and some left out.
  private func read(
    _ changes: [String: [UInt8]] = [:], without omitted: Set<String> = [], layout: NumpyDataset.Layout = .nhwc,
    isStandardised: Bool = true
  ) throws -> NumpyDataset {
    let directory = TemporaryDirectory()
    for (name, bytes) in good where !omitted.contains(name) { directory.write(bytes, to: name) }
    for (name, bytes) in changes { directory.write(bytes, to: name) }
    return try NumpyDataset(
      directory: directory.path, layout: layout, isStandardised: isStandardised, specification: "npy:test")
  }

  /// All inputs of a split.
  private func inputs(_ split: Split, of data: NumpyDataset) -> [Float] {
    let batch = Minibatch(capacity: data.count(split), of: data.form)
    data.load(0..<data.count(split), of: split, into: batch)
    #expect((0..<data.count(split)).allSatisfy { Int(batch.labels[$0]) == data.label($0, of: split) })
    return Array(batch.inputs.values)
  }

  private func isClose(_ found: [Float], _ expected: [Double]) -> Bool {
    found.count == expected.count && zip(found, expected).allSatisfy { abs(Double($0) - $1) < 1e-6 }
  }

  @Test func readsAndStandardisesEachFeature() throws {
    let data = try read()
    #expect(data.kind == .values && data.featureCount == 2 && data.classCount == 5)
    #expect(data.count(.train) == 3 && data.count(.test) == 2)
    #expect((0..<2).map { data.label($0, of: .test) } == [4, 1])
    // The first feature has mean 3 and deviation √(14/3); the second never varies in training.
    let deviation = (14.0 / 3).squareRoot()
    #expect(isClose(inputs(.train, of: data), [-2 / deviation, 0, -1 / deviation, 0, 3 / deviation, 0]))
    #expect(isClose(inputs(.test, of: data), [0, 0, -4 / deviation, 0]))
    #expect(try inputs(.test, of: read(isStandardised: false)) == [3, 10, -1, 12])
  }

  @Test func doublesAndBytesAreTheSameNumbers() throws {
    let plain = try read()
    let values: [Double] = [1, 10, 2, 10, 6, 10]
    let double = try read(["x_train.npy": npy("'<f8'", [3, 2], doubles(values))])
    let bytes = try read(["x_train.npy": npy("'|u1'", [3, 2], values.map { UInt8($0) })])
    for data in [double, bytes] {
      #expect(inputs(.train, of: data) == inputs(.train, of: plain) && inputs(.test, of: data) == inputs(.test, of: plain))
      #expect(data.fingerprint != plain.fingerprint)
    }
  }

  /// Channels lie last in memory wherever they stand in the file, and each has its own mean and deviation.
  @Test func imagesMayHaveChannels() throws {
    func images(_ value: (_ sample: Int, _ row: Int, _ column: Int, _ channel: Int) -> Int, count: Int, isFirst: Bool)
      -> [UInt8]
    {
      (0..<count).flatMap { sample in
        isFirst
          ? (0..<2).flatMap { channel in (0..<3).flatMap { row in (0..<4).map { UInt8(value(sample, row, $0, channel)) } } }
          : (0..<3).flatMap { row in (0..<4).flatMap { column in (0..<2).map { UInt8(value(sample, row, column, $0)) } } }
      }
    }
    func value(_ sample: Int, _ row: Int, _ column: Int, _ channel: Int) -> Int {
      (37 * sample + 11 * row + 5 * column) % 100 + 100 * channel + channel * column
    }
    let last = try read([
      "x_train.npy": npy("'|u1'", [3, 3, 4, 2], images(value, count: 3, isFirst: false)),
      "x_test.npy": npy("'|u1'", [2, 3, 4, 2], images(value, count: 2, isFirst: false)),
    ])
    let first = try read(
      [
        "x_train.npy": npy("'|u1'", [3, 2, 3, 4], images(value, count: 3, isFirst: true)),
        "x_test.npy": npy("'|u1'", [2, 2, 3, 4], images(value, count: 2, isFirst: true)),
      ], layout: .nchw)
    #expect(last.kind == .image(SampleShape(height: 3, width: 4, channels: 2)) && first.kind == last.kind)
    for (found, other) in zip(inputs(.train, of: last), inputs(.train, of: first)) { #expect(abs(found - other) < 1e-6) }
    let found = inputs(.train, of: first)
    for channel in 0..<2 {
      let (mean, deviation) = moments(stride(from: channel, to: found.count, by: 2).map { found[$0] })
      #expect(abs(mean) < 1e-6 && abs(deviation - 1) < 1e-6)
    }
    let raw = try read(
      [
        "x_train.npy": npy("'|u1'", [3, 2, 3, 4], images(value, count: 3, isFirst: true)),
        "x_test.npy": npy("'|u1'", [2, 2, 3, 4], images(value, count: 2, isFirst: true)),
      ], layout: .nchw, isStandardised: false)
    for (place, input) in inputs(.test, of: raw).enumerated() {
      #expect(Int(input) == value(place / 24, place % 24 / 8, place % 8 / 2, place % 2))
    }
  }

  @Test func imagesWithoutChannelsHaveOne() throws {
    let data = try read([
      "x_train.npy": npy("'|u1'", [3, 1, 2], [0, 1, 2, 3, 4, 5]), "x_test.npy": npy("'|u1'", [2, 1, 2], [0, 0, 5, 5]),
    ])
    #expect(data.kind == .image(SampleShape(height: 1, width: 2, channels: 1)))
    // As in idx: one mean and one deviation for all pixels.
    let deviation = (35.0 / 12).squareRoot()
    #expect(isClose(inputs(.test, of: data), [-2.5, -2.5, 2.5, 2.5].map { $0 / deviation }))
  }

  @Test(arguments: [
    ("'|u1'", [0, 3, 1]), ("'|i1'", [0, 3, 1]), ("'<u2'", [0, 300, 1]), ("'<i2'", [0, 300, 1]), ("'<u4'", [0, 70_000, 1]),
    ("'<i4'", [0, 70_000, 1]), ("'<u8'", [0, 1_048_575, 1]), ("'<i8'", [0, 1_048_575, 1]),
  ]) func labelsMayBeOfAnyWholeNumbers(type: String, labels: [Int]) throws {
    let size = Int(type.dropFirst(3).prefix(1))!
    let data = try read(["y_train.npy": npy(type, [3], labels.flatMap { littleEndian($0, byteCount: size) })])
    #expect((0..<3).map { data.label($0, of: .train) } == labels)
    #expect(data.classCount == max(5, labels.max()! + 1))
  }

  @Test func compressedFilesAreTheSameData() throws {
    let compressed = try read(["x_test.npy.gz": gzip(good["x_test.npy"]!)], without: ["x_test.npy"])
    #expect(try compressed.fingerprint == read().fingerprint)
  }

  @Test func fingerprintSeesEveryFile() throws {
    let whole = try read().fingerprint
    for name in good.keys {
      var bytes = good[name]!
      bytes[bytes.count - (name.hasPrefix("y_train") ? 8 : 1)] ^= 1
      #expect(try read([name: bytes]).fingerprint != whole)
    }
  }

  @Test func refusesWhatCannotBeRead() {
    let six = floats([1, 2, 3, 4, 5, 6])
    let cases: [(name: String, bytes: [UInt8], fragments: [String])] = [
      ("x_train.npy", [], ["is not a NumPy array"]),
      ("x_train.npy", Array("PK\u{3}\u{4}0123456789".utf8), [".npz", "numpy.save"]),
      ("x_train.npy", npy("'>f4'", [3, 2], six), ["big-endian", "'>f4'"]),
      ("x_train.npy", npy("'<f4'", [3, 2], six, order: "True"), ["Fortran order"]),
      ("x_train.npy", npy("'|O'", [3, 2], six), ["pickled objects", "array of numbers"]),
      ("x_train.npy", npy("[('a', '<f4'), ('b', '<f4')]", [3], six), ["several fields", "array of numbers"]),
      ("x_train.npy", npy("'<i4'", [3, 2], six), ["type '<i4'", "'|u1', '<f4' and '<f8' can be read"]),
      ("x_train.npy", npy("'<f4'", [3, 2], six + [0]), ["25 bytes of values", "needs 24"]),
      ("x_train.npy", npy("'<f4'", [0, 2], []), ["shape 0 × 2", "holds no samples"]),
      ("x_train.npy", npy("'<f4'", [], floats([1])), ["holds no samples"]),
      ("x_train.npy", npy("'<f4'", [3], floats([1, 2, 3])), ["has the shape 3;", "samples × features"]),
      ("x_train.npy", npy("'<f4'", [3, 1, 1, 1, 2], six), ["has the shape 3 × 1 × 1 × 1 × 2"]),
      ("x_train.npy", npy("'<f4'", [2, 3], six), ["2 samples", "3 labels", "do not belong together"]),
      ("x_train.npy", npy("'<f4'", [3, 1], floats([1, 2, 3])), ["samples of shape 1,", "of 2;", "do not belong together"]),
      ("x_train.npy", npy("'<f4'", [3, 2], floats([1, 2, 3, .nan, 5, 6])), ["value 1 of sample 1 is nan"]),
      ("x_test.npy", npy("'<f4'", [2, 2], floats([1, 2, -.infinity, 4])), ["value 0 of sample 1 is -inf"]),
      ("x_test.npy", npy("'<f8'", [2, 2], doubles([1, 1e39, 3, 4])), ["value 1 of sample 0 is 1e+39", "fp32"]),
      ("x_train.npy", npy("'<f4'", [3, 2], floats([1, 2, 1, 2, 1, 2])), ["all samples are the same"]),
      ("y_train.npy", npy("'<f4'", [3], floats([0, 1, 2])), ["type '<f4'", "'<i8' can be read"]),
      ("y_train.npy", npy("'>i8'", [3], doubles([0, 0, 0])), ["big-endian"]),
      ("y_train.npy", npy("'|u1'", [3, 2], [0, 1, 2, 3, 4, 5]), ["has the shape 3 × 2", "one value for each sample"]),
      ("y_train.npy", npy("'|u1'", [1, 3, 1], [0, 1, 2]), ["has the shape 1 × 3 × 1"]),
      ("y_train.npy", npy("'|i1'", [3], [0, 255, 2]), ["label 1 is -1"]),
      ("y_test.npy", npy("'<i4'", [2], littleEndian(1 << 20, byteCount: 4) + [0, 0, 0, 0]), ["label 0 is 1048576"]),
      ("y_test.npy", npy("'<u8'", [2], Array(repeating: 255, count: 16)), ["label 0 is above"]),
      ("y_test.npy", npy("'|u1'", [2], [0, 0]), ["all labels are 0"]),
    ]
    for (name, bytes, fragments) in cases {
      for fragment in fragments { expectDataError(fragment) { _ = try read([name: bytes]) } }
    }
    expectDataError("x_train.npy'", "layout=nchw is for samples × channels × height × width") { _ = try read(layout: .nchw) }
  }

  @Test func namesWhatIsMissing() {
    expectDataError("holds no y_test.npy", "npy:DIR is the directory of") { _ = try read(without: ["y_test.npy"]) }
    expectDataError("holds no x_train.npy", ".npz archive", "numpy.save") {
      _ = try read(["data.npz": [1]], without: ["x_train.npy"])
    }
  }
}

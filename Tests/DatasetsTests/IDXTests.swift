import Buffers
import Datasets
import Testing

/// An IDX file of bytes.
private func idx(_ shape: [Int], _ values: [UInt8], magic: Int? = nil) -> [UInt8] {
  bigEndian(magic ?? 0x800 + shape.count) + shape.flatMap(bigEndian) + values
}

private let names = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]

/// Three training and two test pictures of 2 × 3 pixels.
private let good: [String: [UInt8]] = [
  names[0]: idx([3, 2, 3], Array(0..<18)), names[1]: idx([3], [0, 9, 4]),
  names[2]: idx([2, 2, 3], Array(100..<112)), names[3]: idx([2], [7, 1]),
]

@Suite struct IDXTests {
  /// Reads the good files with some changed and some left out.
  private func read(_ changes: [String: [UInt8]] = [:], without omitted: Set<String> = [], classCount: Int = 10) throws
    -> IDXDataset
  {
    let directory = TemporaryDirectory()
    for (name, bytes) in good where !omitted.contains(name) { directory.write(bytes, to: name) }
    for (name, bytes) in changes { directory.write(bytes, to: name) }
    return try IDXDataset(directory: directory.path, classCount: classCount, specification: "idx:test")
  }

  @Test func readsAndStandardises() throws {
    let data = try read()
    #expect(data.kind == .image(SampleShape(height: 2, width: 3, channels: 1)))
    #expect(data.featureCount == 6 && data.classCount == 10 && data.count(.train) == 3 && data.count(.test) == 2)
    let batch = Minibatch(capacity: 3, featureCount: 6)
    data.load([2, 0, 1], of: .train, into: batch)
    #expect(batch.labels == [4, 0, 9])
    // 0 … 17 have the mean 8.5 and the variance (18² − 1) / 12.
    let deviation = (323.0 / 12).squareRoot()
    let order = [12, 13, 14, 15, 16, 17] + Array(0..<12)
    for (input, pixel) in zip(batch.inputs.values, order) {
      #expect(abs(Double(input) - (Double(pixel) - 8.5) / deviation) < 1e-6)
    }
    data.load(1..<2, of: .test, into: batch)
    #expect(batch.count == 1 && batch.labels[0] == 1)
    #expect(abs(Double(batch.inputs[5]) - (111 - 8.5) / deviation) < 1e-5)
  }

  @Test func compressedFilesAreTheSameData() throws {
    let plain = try read()
    let images = good[names[0]]!
    let compressed = try read(
      ["\(names[0]).gz": gzip(images), "\(names[3]).gz": gzip(good[names[3]]!)], without: [names[0], names[3]])
    let members = try read(
      ["\(names[0]).gz": gzip(Array(images[..<9])) + gzip(Array(images[9...]))], without: [names[0]])
    #expect(compressed.fingerprint == plain.fingerprint && members.fingerprint == plain.fingerprint)
  }

  @Test func namesMayHaveADot() throws {
    let plain = try read()
    func dotted(_ name: String) -> String { name.replacing("-idx", with: ".idx") }
    let changes = names.enumerated().map { index, name in
      index % 2 == 0 ? (dotted(name), good[name]!) : (dotted(name) + ".gz", gzip(good[name]!))
    }
    let found = try read(Dictionary(uniqueKeysWithValues: changes), without: Set(names))
    #expect(found.fingerprint == plain.fingerprint && found.count(.train) == 3)
    // The usual name comes first, and what is wrong with the other does not matter.
    #expect(try read([dotted(names[0]): [1, 2]]).fingerprint == plain.fingerprint)
    expectDataError("\(dotted(names[0]))'", "truncated") { _ = try read([dotted(names[0]): [1, 2]], without: [names[0]]) }
  }

  /// What systems leave in a directory, and folders of the same names that archives unpack to.
  @Test func otherFilesArePassedOver() throws {
    let directory = TemporaryDirectory()
    for name in names {
      directory.makeFolder(name)
      directory.write(good[name]!, to: name.replacing("-idx", with: ".idx"))
      directory.write([0, 5, 22, 7], to: "._\(name)")
    }
    for name in [".DS_Store", "README.txt", "Thumbs.db"] { directory.write([1], to: name) }
    let found = try IDXDataset(directory: directory.path, specification: "idx:test")
    #expect(try found.fingerprint == read().fingerprint)
  }

  @Test func paddingAfterCompressedDataIsPassedOver() throws {
    let (plain, images) = (try read().fingerprint, good[names[0]]!)
    let members = gzip(Array(images[..<9])) + gzip(Array(images[9...]))
    for padding in [1, 8, 512, 10_000] {
      for whole in [gzip(images), members] {
        let padded = whole + [UInt8](repeating: 0, count: padding)
        #expect(try read(["\(names[0]).gz": padded], without: [names[0]]).fingerprint == plain, "\(padding) zeros")
        expectDataError("\(padding + 1) bytes after the end") {
          _ = try read(["\(names[0]).gz": padded + [7]], without: [names[0]])
        }
        expectDataError("truncated") {
          _ = try read(["\(names[0]).gz": Array(whole.dropLast(3))], without: [names[0]])
        }
      }
    }
  }

  @Test func fingerprintSeesEveryFile() throws {
    let whole = try read().fingerprint
    for name in names {
      var bytes = good[name]!
      bytes[bytes.count - 1] ^= 1
      #expect(try read([name: bytes]).fingerprint != whole)
    }
  }

  @Test func refusesDamagedFiles() {
    let images = good[names[0]]!
    let cases: [(name: String, bytes: [UInt8], fragments: [String])] = [
      (names[0], [], ["truncated", "0 bytes do not hold the header"]),
      (names[0], Array(images[..<11]), ["truncated", "11 bytes"]),
      (names[0], Array(images.dropLast()), ["truncated", "3 × 2 × 3", "18 bytes, and 17 follow"]),
      (names[0], images + [0], ["too long", "18 bytes, and 19 follow"]),
      (names[0], idx([3, 2, 3], Array(0..<18), magic: 0x801), ["not an IDX file of images", "0x00000801", "0x00000803"]),
      (names[0], Array("<!DOCTYPE html><html>".utf8), ["not an IDX file of images", "0x3c21444f"]),
      (names[0], idx([3, 0, 3], []), ["impossible dimensions"]),
      (names[0], idx([1 << 31, 1 << 31, 1 << 31], []), ["impossible dimensions"]),
      (names[0], idx([3, 2, 3], Array(repeating: 7, count: 18)), ["all pixels are 7"]),
      (names[1], idx([2], [0, 1]), ["3 images", "2 labels", "do not belong together"]),
      (names[1], images, ["not an IDX file of labels"]),
      (names[1], idx([3], [0, 10, 1]), ["label 1 is 10", "10 classes", "classes=N"]),
      (names[2], idx([2, 3, 3], Array(0..<18)), ["2 × 3 pixels", "3 × 3", "do not belong together"]),
      (names[3], idx([2], [0, 255]), ["label 1 is 255"]),
    ]
    for (name, bytes, fragments) in cases {
      for fragment in ["\(name)'"] + fragments { expectDataError(fragment) { _ = try read([name: bytes]) } }
    }
  }

  @Test func refusesDamagedCompression() {
    let whole = gzip(good[names[1]]!)
    var flipped = whole
    flipped[20] ^= 1
    var shortened = whole
    shortened.removeLast(9)
    let cases: [([UInt8], [String])] = [
      (flipped, ["damaged gzip file"]), (Array(whole[..<20]), ["truncated"]), (shortened, ["truncated"]),
      (whole + [1, 2, 3], ["3 bytes after the end"]), (good[names[1]]!, ["not a gzip file"]), ([], ["not a gzip file"]),
    ]
    for (bytes, fragments) in cases {
      for fragment in ["\(names[1]).gz'"] + fragments {
        expectDataError(fragment) { _ = try read(["\(names[1]).gz": bytes], without: [names[1]]) }
      }
    }
  }

  @Test func namesWhatIsMissing() {
    expectDataError("holds neither \(names[2]) nor \(names[2]).gz") { _ = try read(without: [names[2]]) }
    let directory = TemporaryDirectory()
    expectDataError("'\(directory.path)' is empty") { _ = try IDXDataset(directory: directory.path, specification: "") }
    directory.makeFolder(names[0])
    expectDataError("'\(directory.path)/\(names[0])'", "not a file") {
      _ = try IDXDataset(directory: directory.path, specification: "")
    }
  }

  @Test(.enabled(if: sharedData("mnist") != nil, "the MNIST files are not in ../shared/data"))
  func readsMNIST() throws {
    let data = try datasets.make("idx:\(sharedData("mnist")!)")(1)
    #expect(data.count(.train) == 60_000 && data.count(.test) == 10_000 && data.featureCount == 784)
    let batch = Minibatch(capacity: 60_000, featureCount: 784)
    data.load(0..<60_000, of: .train, into: batch)
    #expect(Array(batch.labels[..<8]) == [5, 0, 4, 1, 9, 2, 1, 3])
    let (mean, deviation) = moments(Array(batch.inputs.values))
    #expect(abs(mean) < 1e-5 && abs(deviation - 1) < 1e-5)
    // The published mean and deviation of the pixels, of full ink 1: 0.1307 and 0.3081.
    let ground = Double(batch.inputs[0])
    #expect(abs(ground + 0.1307 / 0.3081) < 1e-3)
  }
}

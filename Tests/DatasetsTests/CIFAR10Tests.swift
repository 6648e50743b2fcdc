import Buffers
import Datasets
import Testing

/// A record: a label, and planes of red, green and blue whose pixels differ from place to place, record to record and plane to plane.
private func record(_ number: Int, label: UInt8) -> [UInt8] {
  [label] + (0..<3072).map { place in UInt8(truncatingIfNeeded: ((place + 1) &* 2_654_435_761 &* (number + 1)) >> 13) }
}

private func batch(_ numbers: Range<Int>) -> [UInt8] { numbers.flatMap { record($0, label: UInt8($0 % 10)) } }

/// Five training images in two files, with a number left out between them, and three test images.
private let good: [String: [UInt8]] = [
  "data_batch_1.bin": batch(0..<3), "data_batch_4.bin": batch(3..<5), "test_batch.bin": batch(5..<8),
]

@Suite struct CIFAR10Tests {
  /// Reads the good files with some changed and some left out.
  private func read(
    _ changes: [String: [UInt8]] = [:], without omitted: Set<String> = [], train: Int? = nil, test: Int? = nil,
    isVaried: Bool = true
  ) throws -> CIFAR10Dataset {
    let directory = TemporaryDirectory()
    for (name, bytes) in good where !omitted.contains(name) { directory.write(bytes, to: name) }
    for (name, bytes) in changes { directory.write(bytes, to: name) }
    return try CIFAR10Dataset(
      directory: directory.path, trainCount: train, testCount: test, isVaried: isVaried, specification: "cifar10:test")
  }

  /// The inputs of one sample.
  private func inputs(_ index: Int, of split: Split, in data: CIFAR10Dataset, variation: Philox? = nil) -> [Float] {
    var inputs = [Float](repeating: 0, count: 3072)
    var label: Int32 = -1
    data.read(index, of: split, variation: variation, into: &inputs, labels: &label)
    #expect(Int(label) == data.label(index, of: split))
    return inputs
  }

  /// The value of a byte of a channel, by plain formulas over all training pixels of the channel.
  private func scale(_ channel: Int, training records: Range<Int> = 0..<5) -> (UInt8) -> Double {
    let start = 1 + 1024 * channel
    let bytes = records.flatMap { record($0, label: 0)[start..<start + 1024] }
    let pixels = bytes.map { Double($0) }
    let mean = pixels.reduce(0, +) / Double(pixels.count)
    let squares: Double = pixels.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    let variance = squares / Double(pixels.count)
    return { (Double($0) - mean) / variance.squareRoot() }
  }

  @Test func readsAndStandardisesEachChannel() throws {
    let data = try read()
    #expect(data.kind == .image(SampleShape(height: 32, width: 32, channels: 3)))
    #expect(data.form == SampleForm(inputCount: 3072, classCount: 10, kind: data.kind))
    #expect(data.count(.train) == 5 && data.count(.test) == 3)
    #expect((0..<5).map { data.label($0, of: .train) } == [0, 1, 2, 3, 4])
    #expect((0..<3).map { data.label($0, of: .test) } == [5, 6, 7])
    let scales = (0..<3).map { scale($0) }
    for (split, index, number) in [(Split.train, 2, 2), (.train, 3, 3), (.test, 2, 7)] {
      let found = inputs(index, of: split, in: data)
      let bytes = record(number, label: 0)
      for place in 0..<1024 {
        for channel in 0..<3 {
          // Planes become channels that lie beside each other.
          let expected = scales[channel](bytes[1 + 1024 * channel + place])
          #expect(abs(Double(found[3 * place + channel]) - expected) < 1e-5)
        }
      }
    }
  }

  /// What a varied image shows is the image itself, moved, black where it ends, and mirrored or not.
  @Test func variedImagesAreThosePixels() throws {
    let data = try read()
    let scales = (0..<3).map { scale($0) }
    let bytes = record(1, label: 0)
    var moves: Set<[Int]> = []
    for step in 0..<400 {
      let found = inputs(1, of: .train, in: data, variation: Philox(seed: 5, purpose: .augmentation, step: step))
      // All moves are tried; exactly one fits.
      let fitting = (-4...4).flatMap { down in (-4...4).flatMap { right in [0, 1].map { [down, right, $0] } } }.filter { move in
        for row in 0..<32 {
          for column in 0..<32 {
            let source = (row: row + move[0], column: (move[2] == 1 ? 31 - column : column) + move[1])
            let isInside = (0..<32).contains(source.row) && (0..<32).contains(source.column)
            for channel in 0..<3 {
              let byte = isInside ? bytes[1 + 1024 * channel + 32 * source.row + source.column] : 0
              if abs(Double(found[3 * (32 * row + column) + channel]) - scales[channel](byte)) > 1e-5 { return false }
            }
          }
        }
        return true
      }
      #expect(fitting.count == 1)
      moves.formUnion(fitting)
    }
    // Of 162 moves 400 draws meet 148 in the mean; each single one by 3 in 5 at least.
    #expect(moves.count > 120)
    for place in 0..<2 { #expect(Set(moves.map { $0[place] }) == Set(-4...4)) }
    #expect(Set(moves.map { $0[2] }) == [0, 1])
  }

  @Test func onlyTrainingImagesAreVariedAndOnlyIfAsked() throws {
    let (varied, plain) = (try read(), try read(isVaried: false))
    for step in 0..<20 {
      let random = Philox(seed: 5, purpose: .augmentation, step: step)
      #expect(inputs(0, of: .test, in: varied, variation: random) == inputs(0, of: .test, in: varied))
      #expect(inputs(0, of: .train, in: plain, variation: random) == inputs(0, of: .train, in: varied))
    }
  }

  @Test func limitsTakeTheFirstImages() throws {
    let data = try read(train: 4, test: 1)
    #expect(data.count(.train) == 4 && data.count(.test) == 1)
    // Moments are those of the images in use.
    let value = Double(inputs(0, of: .test, in: data)[1])
    #expect(abs(value - scale(1, training: 0..<4)(record(5, label: 0)[1 + 1024])) < 1e-5)
    // What is not used is not read.
    let broken = try read(["data_batch_4.bin": [1, 2, 3]], train: 3)
    #expect(try broken.fingerprint == read(train: 3).fingerprint)
    #expect(broken.fingerprint != data.fingerprint)
    expectDataError("holds 5 training images", "train=6") { _ = try read(train: 6) }
    expectDataError("holds 3 test images", "test=4") { _ = try read(test: 4) }
  }

  @Test func compressedFilesAreTheSameData() throws {
    let plain = try read()
    let compressed = try read(
      ["data_batch_1.bin.gz": gzip(good["data_batch_1.bin"]!), "test_batch.bin.gz": gzip(good["test_batch.bin"]!)],
      without: ["data_batch_1.bin", "test_batch.bin"])
    #expect(compressed.fingerprint == plain.fingerprint)
    #expect(inputs(2, of: .train, in: compressed) == inputs(2, of: .train, in: plain))
  }

  @Test func fingerprintSeesEveryFile() throws {
    let whole = try read().fingerprint
    for name in good.keys {
      var bytes = good[name]!
      bytes[bytes.count - 1] ^= 1
      #expect(try read([name: bytes]).fingerprint != whole)
    }
  }

  @Test func refusesDamagedFiles() {
    let first = good["data_batch_1.bin"]!
    let cases: [(name: String, bytes: [UInt8], fragments: [String])] = [
      ("data_batch_1.bin", [], ["is empty"]),
      (
        "data_batch_1.bin", Array(first.dropLast()),
        ["truncated", "2 whole records of 3073 bytes", "3073 bytes, 3072 are left over"]
      ),
      ("test_batch.bin", first + [0], ["3 whole records of 3073 bytes", "3073 bytes, 1 are left over"]),
      ("data_batch_4.bin", Array("<html>".utf8), ["0 whole records", "6 are left over"]),
      ("data_batch_4.bin", record(3, label: 9) + record(4, label: 10), ["the label of record 1 is 10", "10 classes"]),
      ("test_batch.bin", record(3, label: 255), ["the label of record 0 is 255"]),
    ]
    for (name, bytes, fragments) in cases {
      for fragment in ["\(name)'"] + fragments { expectDataError(fragment) { _ = try read([name: bytes]) } }
    }
    let grey = [UInt8](repeating: 9, count: 3073)
    expectDataError("all values of red are 9") {
      _ = try read(["data_batch_1.bin": grey, "data_batch_4.bin": grey])
    }
  }

  @Test func namesWhatIsMissing() {
    expectDataError("holds no test_batch.bin", "cifar10:DIR is") { _ = try read(without: ["test_batch.bin"]) }
    expectDataError("holds no data_batch_1.bin to data_batch_5.bin", "cifar10:DIR is") {
      _ = try read(without: ["data_batch_1.bin", "data_batch_4.bin"])
    }
    let directory = TemporaryDirectory()
    directory.makeFolder("data_batch_2.bin")
    directory.write(good["test_batch.bin"]!, to: "test_batch.bin")
    expectDataError("'\(directory.path)/data_batch_2.bin'", "not a file") {
      _ = try CIFAR10Dataset(directory: directory.path, specification: "")
    }
  }

  @Test(.enabled(if: sharedData("cifar-10-batches-bin") != nil, "the CIFAR-10 files are not in ../shared/data"))
  func readsCIFAR10() throws {
    let data = try datasets.make("cifar10:\(sharedData("cifar-10-batches-bin")!)")(1)
    #expect(data.count(.train) == 20_000 && data.count(.test) == 4_000)
    let batch = Minibatch(capacity: 20_000, of: data.form)
    data.load(0..<20_000, of: .train, into: batch)
    for channel in 0..<3 {
      let (mean, deviation) = moments(stride(from: channel, to: batch.inputs.count, by: 3).map { batch.inputs[$0] })
      #expect(abs(mean) < 1e-4 && abs(deviation - 1) < 1e-4)
    }
    // Every class has about its share.
    for label in 0..<10 { #expect((1800...2200).contains(batch.labels.count { $0 == Int32(label) })) }
  }
}

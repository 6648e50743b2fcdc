public import Buffers

/// The data sets: each makes, from a seed, the samples that its specification names.
///
/// The keys are checked when the specification is read; files are opened when the product is called, and faults in them are
/// thrown as ``DataError``.
public let datasets = Registry<(_ seed: UInt64) throws -> any Dataset>(
  "data set",
  [
    .init(
      "glyphs", "28×28 digits drawn from the seed, nothing to download",
      keys: [("train", "training samples (60000)"), ("test", "test samples (10000)")]
    ) { specification in
      let train = try specification.integer("train", default: 60_000, in: 1...100_000_000)
      let test = try specification.integer("test", default: 10_000, in: 1...100_000_000)
      return { seed in
        Glyphs(seed: seed, trainCount: train, testCount: test, specification: specification.description)
      }
    },
    .init(
      "idx", "images in the four IDX files of MNIST and data sets like it (train-images-idx3-ubyte …), .gz or plain",
      values: "the directory that holds the files", keys: [("classes", "number of classes (10)")]
    ) { specification in
      let classes = try specification.integer("classes", default: 10, in: 2...256)
      let directory = try specification.directory()
      return { _ in
        try IDXDataset(directory: directory, classCount: classes, specification: specification.description)
      }
    },
    .init(
      "speech",
      "spoken digits as log-mel frames with context, classes = digit × state; WAV files {digit}_{speaker}_{number}.wav",
      values: "the directory that holds recordings/",
      keys: [
        ("states", "states of a digit, by uniform alignment (6)"), ("mels", "mel filters (40)"),
        ("context", "frames of context on each side (5)"),
      ]
    ) { specification in
      let states = try specification.integer("states", default: 6, in: 1...64)
      let mels = try specification.integer("mels", default: 40, in: 4...64)
      let context = try specification.integer("context", default: 5, in: 0...50)
      let directory = try specification.directory()
      return { _ in
        try SpeechDataset(
          directory: directory, stateCount: states, melCount: mels, contextCount: context,
          specification: specification.description)
      }
    },
  ])

/// How training samples are dealt to clients.
public let partitions = Registry<ClientPartition>(
  "partition",
  [
    .init("iid", "equal shares of one random order") { _ in .independent },
    .init("by-class", "each client holds samples of a few classes", values: "the number of classes of a client (1)") {
      specification in
      let text = specification.values.first ?? "1"
      guard specification.values.count <= 1, let classes = Int(text), classes >= 1 else {
        throw SpecificationError("'\(specification)' is not a number of classes from 1; write by-class:1")
      }
      return .byClass(classes)
    },
    .init(
      "dirichlet", "of each class, clients get shares from a Dirichlet distribution",
      values: "α: the smaller, the more the clients differ"
    ) { specification in
      guard specification.values.count == 1, let alpha = Double(specification.values[0]), (0.001...1000).contains(alpha) else {
        throw SpecificationError("'\(specification)' has no α of 0.001 to 1000; write dirichlet:0.3")
      }
      return .dirichlet(alpha)
    },
  ])

extension Specification {
  /// The one positional value, a directory.
  fileprivate func directory() throws(SpecificationError) -> String {
    guard let directory = values.first, !directory.isEmpty else {
      throw SpecificationError("'\(description)' names no directory; write \(name):DIR")
    }
    guard values.count == 1 else {
      throw SpecificationError(
        "'\(description)' names \(values.count) directories, and takes one; for a name with a comma or an equals sign, make a symbolic link"
      )
    }
    return directory
  }
}

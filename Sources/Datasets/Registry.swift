public import Buffers

/// The data sets: each makes, from a seed, the samples that its specification names.
///
/// The keys are checked when the specification is read; files are opened when the product is called, and faults in them are
/// thrown as ``DataError``.
public let datasets = Registry<DatasetRecipe>(
  "data set",
  [
    .init(
      "glyphs", "28×28 digits drawn from the seed, nothing to download",
      keys: [("train", "training samples (60000)"), ("test", "test samples (10000)"), heldOut]
    ) { specification in
      let train = try specification.integer("train", default: 60_000, in: 1...100_000_000)
      let test = try specification.integer("test", default: 10_000, in: 1...100_000_000)
      return try DatasetRecipe { seed in
        Glyphs(seed: seed, trainCount: train, testCount: test, specification: specification.description)
      }.holdingOut(specification.count(heldOut.name))
    },
    .init(
      "idx", "images in the four IDX files of MNIST and data sets like it (train-images-idx3-ubyte …), .gz or plain",
      values: "the directory that holds the files", keys: [("classes", "number of classes (10)"), heldOut]
    ) { specification in
      let classes = try specification.integer("classes", default: 10, in: 2...256)
      let directory = try specification.path()
      return try DatasetRecipe { _ in
        try IDXDataset(directory: directory, classCount: classes, specification: specification.description)
      }.holdingOut(specification.count(heldOut.name))
    },
    .init(
      "cifar10", "colour images in the files of CIFAR-10's binary version (data_batch_1.bin … test_batch.bin), .gz or plain",
      values: "the directory that holds the files",
      keys: [
        ("train", "training images, the first ones (all)"), ("test", "test images, the first ones (all)"),
        ("augment", "whether training images are moved by up to 4 pixels and mirrored half the time, true or false (true)"),
        heldOut,
      ]
    ) { specification in
      let train = try specification.count("train")
      let test = try specification.count("test")
      let isVaried = try specification.flag("augment", default: true)
      let directory = try specification.path()
      return try DatasetRecipe { _ in
        try CIFAR10Dataset(
          directory: directory, trainCount: train, testCount: test, isVaried: isVaried,
          specification: specification.description)
      }.holdingOut(specification.count(heldOut.name))
    },
    .init(
      "npy", "arrays of NumPy: x_train.npy, y_train.npy, x_test.npy, y_test.npy, .gz or plain; classes = largest label + 1",
      values: "the directory that holds the files",
      keys: [
        ("layout", "axes of images with channels after the first, nhwc or nchw (nhwc)"),
        ("standardize", "whether features, or channels of images, get mean 0 and deviation 1, true or false (true)"),
        heldOut,
      ]
    ) { specification in
      let layout = try specification.choice("layout", default: NumpyDataset.Layout.nhwc)
      let isStandardised = try specification.flag("standardize", default: true)
      let directory = try specification.path()
      return try DatasetRecipe { _ in
        try NumpyDataset(
          directory: directory, layout: layout, isStandardised: isStandardised, specification: specification.description)
      }.holdingOut(specification.count(heldOut.name))
    },
    .init(
      "text", "windows of a UTF-8 text, .gz or plain: models predict the next character; classes = distinct characters",
      values: "the file",
      keys: [
        ("context", "characters of a window (that of the model, or \(TextDataset.usualContext))"),
        ("test", "the characters at the end that are the test split, a number or a share (0.1)"),
      ]
    ) { specification in
      let context = try specification.options["context"].map { _ in
        try specification.integer("context", default: TextDataset.usualContext, in: 1...65_536)
      }
      let test = try specification.amount("test", default: "0.1")
      let path = try specification.path(to: "file")
      return DatasetRecipe(text: specification, context: context) { _, context in
        try TextDataset(
          path: path, context: context ?? TextDataset.usualContext, test: test, specification: specification.description)
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
      let directory = try specification.path()
      return DatasetRecipe { _ in
        try SpeechDataset(
          directory: directory, stateCount: states, melCount: mels, contextCount: context,
          specification: specification.description)
      }
    },
  ])

/// The key of data whose samples are independent of each other.
private let heldOut = (
  name: "held-out",
  meaning: "training samples, the last ones, that take the place of the test samples: to choose settings on (none)"
)

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
  /// The one positional value, a directory or a file.
  fileprivate func path(to kind: String = "directory") throws(SpecificationError) -> String {
    guard let path = values.first, !path.isEmpty else {
      throw SpecificationError("'\(description)' names no \(kind); write \(name):\(kind == "file" ? "FILE" : "DIR")")
    }
    guard values.count == 1 else {
      throw SpecificationError(
        "'\(description)' names \(values.count) \(kind == "file" ? "files" : "directories"), and takes one; "
          + "for a name with a comma or an equals sign, make a symbolic link")
    }
    return path
  }

  /// A number of samples; nil if the key is absent.
  fileprivate func count(_ key: String) throws(SpecificationError) -> Int? {
    guard options[key] != nil else { return nil }
    return try integer(key, default: 1, in: 1...100_000_000)
  }
}

// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

/// A library of this package: its sources are in `Sources/<name>`.
func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

/// For code that computes little itself: it starts jobs, or tests what is fast.
///
/// Half of the time of a build goes into making code fast.
let unoptimized = settings + [.unsafeFlags(["-Onone", "-no-emit-module-separately-wmo"])]

/// A small program that asserts its own result; CI runs each under `mpirun`.
func example(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .executableTarget(
    name: "example-\(name)", dependencies: dependencies, path: "examples/\(name)", swiftSettings: settings)
}

/// A laboratory: a program that runs jobs and prints tables.
func laboratory(_ name: String, _ dependencies: [Target.Dependency], exclude: [String]) -> Target {
  .executableTarget(
    name: "example-\(name)", dependencies: dependencies + ["Laboratory", "Files", argumentParser], path: "examples/\(name)",
    exclude: exclude, swiftSettings: unoptimized)
}

/// What tests share: short runs, and what they compare with in a few plain lines.
///
/// Tests import it as @testable, which optimized code has to be built for.
func support(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(
    name: "_\(name)Support", dependencies: dependencies + ["_TestSupport"], path: "Tests/_\(name)Support",
    swiftSettings: settings + [.unsafeFlags(["-enable-testing"])])
}

/// The tests of one module; those that need several ranks run under `mpirun`.
func tests(_ name: String, _ dependencies: [Target.Dependency], areOptimized: Bool = false) -> Target {
  .testTarget(
    name: "\(name)Tests", dependencies: dependencies + ["_TestSupport"],
    path: "Tests/\(name)Tests", swiftSettings: areOptimized ? settings : unoptimized)
}

let argumentParser = Target.Dependency.product(
  name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
  name: "morse",
  products: [
    .library(name: "MPI", targets: ["MPI"]),
    .library(name: "Codecs", targets: ["Codecs", "Kernels", "Buffers"]),
    .library(
      name: "Collectives", targets: ["Collectives", "PointToPoint", "Transport", "Codecs", "Kernels", "MPI", "Buffers"]),
    // Morse for programs in other languages: scripts/build-library.
    .library(name: "morse", type: .dynamic, targets: ["SharedLibrary"]),
    .executable(name: "train", targets: ["train"]),
    .executable(name: "bench", targets: ["bench"]),
  ],
  dependencies: [
    // Command lines of `train` and `bench`.
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    // Configuration files of `train`.
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    // Open MPI: transport, launch, host files, Slurm.
    .systemLibrary(
      name: "CMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev", "openmpi-bin"])]),
    // Data files that are gzip-compressed.
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    // The vector loops whose instructions Swift cannot select at run time.
    .target(name: "CKernels"),
    // Matrix products and convolutions: oneDNN (libdnnl-dev) generates code for the processor at hand, also for processors younger
    // than itself.
    .target(name: "CDNN", linkerSettings: [.linkedLibrary("dnnl")]),

    library("Buffers", []),
    // Loops over vectors of floats, for every processor.
    library("Kernels", ["Buffers", "CKernels"]),
    library("MPI", ["CMPI", "Buffers"]),
    library("Codecs", ["Kernels", "Buffers"]),
    library("Transport", ["MPI", "Buffers"]),
    // Exchanges in which every rank takes part in the same way.
    library("Collectives", ["Transport", "MPI", "Codecs", "Kernels", "Buffers"]),
    // Exchanges of two ranks at a time: parameter servers and gossip.
    library("PointToPoint", ["Transport", "MPI", "Codecs", "Kernels", "Buffers"]),
    // The header of the library for C and Python, and its functions.
    .target(name: "CMorse"),
    library("SharedLibrary", ["CMorse", "Collectives", "Transport", "MPI", "Codecs", "Kernels", "Buffers"]),
    library("Networks", ["CDNN", "Kernels", "Buffers"]),
    // Files and their names, JSON, numbers as people read them.
    library("Files", ["Buffers"]),
    library("Datasets", ["CZlib", "Files", "Buffers"]),
    library("Optimizers", ["Collectives", "Transport", "Kernels", "Buffers"]),
    library("Checkpoints", ["Files", "Collectives", "Transport", "MPI", "Buffers"]),
    // Metrics, progress, timelines and pictures.
    library("Reporting", ["Checkpoints", "Files", "Collectives", "Transport", "MPI", "Buffers"]),
    // What a step is: when ranks exchange what, under which options, on which samples.
    library(
      "Strategies",
      [
        "Reporting", "Checkpoints", "Optimizers", "Files", "PointToPoint", "Collectives", "Transport", "Networks", "Datasets",
        "MPI", "Codecs", "Kernels", "Buffers",
      ]),
    // The run around the steps: start, tuning, evaluation, checkpoints, end.
    library(
      "Trainer",
      [
        "Strategies", "Reporting", "Checkpoints", "Optimizers", "Files", "PointToPoint", "Collectives", "Transport", "Networks",
        "Datasets", "MPI", "Codecs", "Kernels", "Buffers",
        .product(name: "Yams", package: "Yams"),
      ]),
    library(
      "Planner",
      [
        "Trainer", "Strategies", "Reporting", "Checkpoints", "Optimizers", "Files", "PointToPoint", "Collectives", "Transport",
        "Networks", "Datasets", "MPI", "Codecs", "Kernels", "Buffers",
      ]),
    .executableTarget(
      name: "train",
      dependencies: [
        "Planner", "Trainer", "Strategies", "Reporting", "Checkpoints", "Optimizers", "Files", "Collectives", "Transport",
        "Networks", "Datasets", "MPI", "Codecs", "Kernels", "Buffers", argumentParser,
      ],
      swiftSettings: settings),
    .executableTarget(
      name: "bench",
      dependencies: [
        "Trainer", "Strategies", "Reporting", "Optimizers", "Files", "PointToPoint", "Collectives", "Transport", "Networks",
        "Datasets", "MPI", "Codecs", "Kernels", "Buffers", "CPingPong", argumentParser,
      ],
      swiftSettings: settings),
    // The loops of `bench ping-pong` in C, to compare with.
    .target(name: "CPingPong", dependencies: ["CMPI"]),

    example("hello", ["MPI"]),
    example("ring", ["MPI"]),
    example("reduce", ["MPI"]),
    example("overlap", ["MPI"]),
    example("user-operation", ["MPI"]),
    example("one-bit", ["Collectives", "Transport", "Codecs", "MPI", "Buffers"]),
    // What laboratories have in common.
    .target(
      name: "Laboratory", dependencies: ["Reporting", "Files", argumentParser], path: "examples/laboratory",
      swiftSettings: unoptimized),
    laboratory("codecs", ["Reporting"], exclude: ["README.md"]),
    laboratory("dc-asgd", [], exclude: ["README.md", "RESULTS.md"]),
    laboratory(
      "deep", ["Reporting"], exclude: ["README.md", "depth.svg", "normalization.svg", "regularization.svg"]),
    laboratory(
      "local", ["Reporting", "Collectives", "Transport", "MPI", "Buffers"], exclude: ["README.md", "RESULTS.md"]),
    laboratory("seide2014", [], exclude: ["README.md", "RESULTS.md"]),
    laboratory(
      "fetchsgd", ["Reporting", "Networks", "Datasets", "Buffers"],
      exclude: ["README.md", "RESULTS.md", "by-class.svg", "energy.svg", "iid.svg", "magnitudes.svg"]),

    .target(name: "_TestSupport", dependencies: ["Files", "MPI"], path: "Tests/_TestSupport", swiftSettings: settings),
    support("Collectives", ["PointToPoint", "Collectives", "Transport", "MPI", "Codecs", "Buffers"]),
    support(
      "Training",
      [
        "Trainer", "Strategies", "Checkpoints", "Collectives", "Transport", "Networks", "Datasets", "MPI", "Codecs", "Buffers",
      ]),
    tests("Buffers", ["Buffers"], areOptimized: true),
    tests(
      "MPI", ["MPI", "example-hello", "example-ring", "example-reduce", "example-overlap", "example-user-operation"]),
    tests("Codecs", ["Codecs", "Kernels", "Buffers"], areOptimized: true),
    tests("Collectives", ["_CollectivesSupport", "Collectives", "Transport", "MPI", "Codecs", "Buffers"], areOptimized: true),
    tests("PointToPoint", ["_CollectivesSupport", "PointToPoint", "Collectives", "Transport", "MPI", "Codecs", "Buffers"]),
    tests("SharedLibrary", ["SharedLibrary", "CMorse"], areOptimized: true),
    tests("Networks", ["Networks", "Kernels", "Buffers"], areOptimized: true),
    tests("Datasets", ["Datasets", "CZlib", "Buffers"], areOptimized: true),
    tests("Bench", ["bench", "Buffers"]),
    // Whole runs by strategy and optimizer.
    tests(
      "Strategies",
      [
        "_TrainingSupport", "Trainer", "Strategies", "Checkpoints", "Optimizers", "PointToPoint", "Collectives", "Transport",
        "Networks", "Datasets", "MPI", "Codecs", "Buffers",
      ]),
    tests(
      "Trainer",
      [
        "_TrainingSupport", "Trainer", "Strategies", "Reporting", "Checkpoints", "Optimizers", "Files", "PointToPoint",
        "Collectives", "Transport", "Networks", "Datasets", "MPI", "Codecs", "Kernels", "Buffers",
      ]),
    tests(
      "Planner",
      [
        "_TrainingSupport", "Planner", "Trainer", "Strategies", "Reporting", "Optimizers", "Files", "Collectives", "Transport",
        "Networks", "Datasets", "MPI", "Codecs", "Buffers",
      ]),
    // `train` as its users start it: what it says, writes and ends with.
    tests("Command", ["_TrainingSupport", "Trainer", "Strategies", "Reporting", "Files", "Buffers"]),
  ]
)

public import Foundation

/// What became of a job or process.
public struct JobResult: Sendable {
  /// The exit status; 128 + the signal's number after a signal, as in a shell.
  public let status: Int32
  /// What it wrote to standard output.
  public let standardOutput: String
  /// What it wrote to standard error.
  public let standardError: String
  /// Whether it was ended because it took too long.
  public let isTimedOut: Bool
  /// How long it ran.
  public let duration: Duration
}

/// A product of this package that was built beside the tests, or another program.
public struct Job: Sendable {
  /// The program: a product's name, or a path.
  public var program: String
  /// What it is called with.
  public var arguments: [String]
  /// Additions to the environment.
  public var environment: [String: String] = [:]
  /// The directory it runs in; that of the tests if nil.
  public var directory: String?
  /// After this many seconds it is ended; enough for a machine that has much else to do.
  public var timeLimit = 240.0

  /// A call of `program`.
  public init(_ program: String, _ arguments: [String] = []) {
    self.program = program
    self.arguments = arguments
  }

  /// Runs it as one process without `mpirun`.
  public func run() throws -> JobResult { try run(executable, arguments) }

  /// Starts it as one process without `mpirun`; ``RunningJob/wait()`` must follow.
  public func start() throws -> RunningJob { try start(executable, arguments) }

  /// Runs it under `mpirun` on `ranks` ranks; `options` go before the program.
  public func run(ranks: Int, options: [String] = []) throws -> JobResult {
    let seconds = String(Int(timeLimit.rounded(.up)))
    return try run("/usr/bin/env", ["mpirun", "--timeout", seconds, "-np", String(ranks)] + options + [executable] + arguments)
  }

  /// Starts it under `mpirun` for a test that interferes with it; ``RunningJob/wait()`` must follow.
  public func start(ranks: Int, options: [String] = []) throws -> RunningJob {
    let seconds = String(Int(timeLimit.rounded(.up)))
    return try start(
      "/usr/bin/env", ["mpirun", "--timeout", seconds, "-np", String(ranks)] + options + [executable] + arguments)
  }

  /// The path of the program.
  public var executable: String {
    program.contains("/") ? program : Job.productsDirectory.appending(path: program).path
  }

  /// Where the products of this build are.
  public static var productsDirectory: URL {
    URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
  }

  /// The environment of a job: this process's, without what a launcher put there.
  ///
  /// Variables of the launcher would make a new `mpirun` believe that it is part of a job. Those that a user sets stay.
  public static var cleanEnvironment: [String: String] {
    var environment = ProcessInfo.processInfo.environment.filter { name, _ in
      name.hasPrefix("OMPI_ALLOW_RUN_AS_ROOT")
        || !["OMPI_", "PMIX_", "PMI_", "ORTE_", "OPAL_"].contains { name.hasPrefix($0) }
    }
    environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
    environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    // More ranks than cores is the rule on a test machine: then waiting ranks must let others run.
    environment["OMPI_MCA_rmaps_base_oversubscribe"] = "1"
    environment["OMPI_MCA_mpi_yield_when_idle"] = "1"
    // What is chosen on one machine; to look for other networks takes a third of the start.
    (environment["OMPI_MCA_pml"], environment["OMPI_MCA_btl"]) = ("ob1", "self,vader,tcp")
    return environment
  }

  private func run(_ path: String, _ arguments: [String]) throws -> JobResult { try start(path, arguments).wait() }

  private func start(_ path: String, _ arguments: [String]) throws -> RunningJob {
    try RunningJob(
      path, arguments, environment: Job.cleanEnvironment.merging(environment) { $1 }, directory: directory, timeLimit: timeLimit
    )
  }
}

extension Job {
  /// One test of this bundle as a job of its own: a test that `.enabled(if: Job.isRunning(name))` guards.
  ///
  /// It spares a program for each thing that must fail.
  public static func test(_ name: String) -> Job {
    let bundle = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().path
    var job = Job(bundle, ["--testing-library", "swift-testing", "--no-parallel", "--filter", name])
    job.environment["MORSE_TEST_JOB"] = name
    return job
  }

  /// Whether this process was started as the job `name`.
  public static func isRunning(_ name: String) -> Bool { ProcessInfo.processInfo.environment["MORSE_TEST_JOB"] == name }
}

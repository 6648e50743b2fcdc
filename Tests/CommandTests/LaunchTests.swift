import Foundation
import Testing
import _TestSupport
@testable import _TrainingSupport

/// What a launcher writes into the environment of task `number` of three.
private struct Launching: CustomTestStringConvertible, Sendable {
  let testDescription: String
  let variables: @Sendable (_ number: Int) -> [String: String]

  static let srun = Launching(testDescription: "srun --mpi=none") { number in
    [
      "SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "3", "SLURM_NTASKS": "3", "SLURM_NPROCS": "3",
      "SLURM_PROCID": "\(number)", "SLURM_LOCALID": "\(number)",
    ]
  }
  /// All by which three tasks may each find themselves alone.
  static let all = [
    srun,
    Launching(testDescription: "srun --mpi=pmi2") { number in
      srun.variables(number).merging(["PMI_RANK": "\(number)", "PMI_SIZE": "3", "PMI_FD": "9"]) { $1 }
    },
    Launching(testDescription: "mpiexec of MPICH") { ["PMI_RANK": "\($0)", "PMI_SIZE": "3", "PMI_FD": "9"] },
    Launching(testDescription: "mpiexec of MPICH with a port") {
      ["PMI_ID": "\($0)", "PMI_PORT": "node:7", "MPI_LOCALRANKID": "\($0)", "MPI_LOCALNRANKS": "3"]
    },
    Launching(testDescription: "mpirun_rsh") { ["MV2_COMM_WORLD_RANK": "\($0)", "MV2_COMM_WORLD_SIZE": "3"] },
    Launching(testDescription: "an mpirun that cannot be reached") {
      ["OMPI_COMM_WORLD_RANK": "\($0)", "OMPI_COMM_WORLD_SIZE": "3"]
    },
  ]
}

/// How the programs begin under launchers that Open MPI does not know, and under those that it does.
@Suite(.serialized, .outsideMPI) struct LaunchTests {
  private static let short = ["--data", "glyphs:train=300,test=100", "--model", "mlp:8", "--steps", "3", "--quiet"]

  /// What became of three tasks that run at the same time.
  private func results(of program: String, _ arguments: [String], in directory: String, under launching: Launching) throws
    -> [JobResult]
  {
    try (0..<3).map { number in
      var job = Job(program, arguments)
      job.environment = launching.variables(number)
      job.directory = directory
      return try job.start()
    }.map { $0.wait() }
  }

  private func expectOneSentence(_ results: [JobResult], of program: String) {
    #expect(results.map(\.status) == [64, 64, 64])
    #expect(results.map(\.standardOutput) == ["", "", ""])
    let sentence = "\(program): this is task 0 of 3, but MPI sees one rank: start with mpirun, or srun --mpi=pmix\n"
    #expect(results.map(\.standardError) == [sentence, "", ""])
  }

  @Test(arguments: Launching.all) private func severalTasksAloneEndInOneSentence(_ launching: Launching) throws {
    let directory = try TemporaryDirectory(on: World.communicator)
    let files = ["--metrics", "m.jsonl", "--output", "o.safetensors", "--checkpoint", "c"]
    let results = try results(of: "train", Self.short + files, in: directory.path, under: launching)
    expectOneSentence(results, of: "train")
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
  }

  @Test(arguments: [
    ("train", ["evaluate", "--checkpoint", "c"]), ("train", ["plan", "--brief"]), ("bench", ["all-reduce"]),
    ("bench", ["step"]),
    ("bench", ["ping-pong"]), ("example-hello", []),
  ])
  func noProgramRunsAlone(_ program: String, _ arguments: [String]) throws {
    let directory = try TemporaryDirectory(on: World.communicator)
    try withExtendedLifetime(directory) {
      expectOneSentence(try results(of: program, arguments, in: directory.path, under: .srun), of: program)
    }
  }

  @Test(arguments: [
    // A batch script knows how many tasks its job may start.
    ["SLURM_JOB_ID": "77", "SLURM_NTASKS": "3", "SLURM_NPROCS": "3", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"],
    ["SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"],
    ["PMI_RANK": "0", "PMI_SIZE": "1"], ["SLURM_STEP_NUM_TASKS": "three", "SLURM_PROCID": "0"],
  ])
  func oneTaskRunsAlone(_ environment: [String: String]) throws {
    var job = Job("train", Self.short)
    job.environment = environment
    let result = try job.run()
    #expect(result.status == 0, "\(result.standardError)")
    #expect(result.standardOutput.hasPrefix("1 rank"))
  }

  /// `mpirun` inside a step of several tasks, as it starts its own daemons by srun.
  @Test(arguments: [1, 2]) func mpirunIsBelievedBeforeTheStepThatItRunsIn(ranks: Int) throws {
    var job = Job("train", Self.short)
    job.environment = ["SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "0"]
    let result = try job.run(ranks: ranks)
    #expect(result.status == 0, "\(result.standardError)")
    #expect(result.standardOutput.hasPrefix(ranks == 1 ? "1 rank" : "2 ranks"))
  }

  @Test(arguments: [("train", ["--no-such-option"]), ("train", ["evaluate"]), ("bench", ["all-reduce", "--no-such-option"])])
  func oneRankSaysWhatIsWrongUnderPMIx(_ program: String, _ arguments: [String]) throws {
    let pmix = Launching(testDescription: "srun --mpi=pmix") { number in
      Launching.srun.variables(number).merging(["PMIX_RANK": "\(number)", "PMIX_NAMESPACE": "slurm.pmix.77.0"]) { $1 }
    }
    let results = try results(of: program, arguments, in: "/", under: pmix)
    #expect(results.map(\.status) == [64, 64, 64])
    #expect(!results[0].standardError.isEmpty)
    #expect(results[1...].map(\.standardError) == ["", ""])
  }
}

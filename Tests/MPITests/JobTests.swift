import MPI
import Testing
import _TestSupport

#if canImport(Glibc)
  import Glibc
#endif

/// An error with a status of its own.
struct Sorry: ExitStatusProviding, CustomStringConvertible {
  var exitStatus: Int32 { 65 }
  var description: String { "the data are bad" }
}

extension SerialTests {
  /// Programs that ``JobTests`` runs as jobs of their own.
  @Suite(.serialized) struct JobPrograms {
    @Test(.enabled(if: Job.isRunning("throwOnLastRank"), "a program of JobTests")) func throwOnLastRank() {
      withMPI { world in
        if world.rank == world.count - 1 { throw Sorry() }
        // The others wait for what will never come.
        try world.barrier()
        _ = try world.receive(Int8.self, from: world.count - 1)
      }
    }

    @Test(.enabled(if: Job.isRunning("throwPlainError"), "a program of JobTests")) func throwPlainError() {
      struct Plain: Error {}
      withMPI { _ in throw Plain() }
    }

    @Test(.enabled(if: Job.isRunning("returnStatus"), "a program of JobTests")) func returnStatus() {
      exit(
        withMPI { world -> Int32 in
          if world.rank == 0 { _ = "usage: nothing\n".withCString { write(STDERR_FILENO, $0, strlen($0)) } }
          return 64
        })
    }

    @Test(.enabled(if: Job.isRunning("abortWithStatus"), "a program of JobTests")) func abortWithStatus() {
      withMPI { world in world.abort(status: 74) }
    }

    @Test(.enabled(if: Job.isRunning("localWorld"), "a program of JobTests")) func localWorld() {
      withMPI(threads: .multiple) { world in
        let start = wallTime
        var values = [Float(1), 2]
        try world.allReduce(&values, .sum)
        try world.startBarrier().wait()
        let window = try SharedWindow(on: try world.splitByHost(), byteCount: 100)
        try window.free()
        print("without MPI: \(wallTime - start < 0.1 && values == [1, 2])")
        // A message to oneself needs MPI, which starts now.
        let message = try world.exchange([7], to: 0, from: 0)
        print("with MPI: \(message.values)")
      }
    }
  }
}

/// A suite of one process, one test of which forgets that it is.
@Suite(.oneProcess) struct OneProcessProgram {
  @Test(.enabled(if: Job.isRunning("touchTheWorld"), "a program of JobTests")) func touchTheWorld() {
    _ = World.communicator
  }
}

extension SerialTests {
  @Suite(.outsideMPI, .serialized) struct JobTests {
    @Test(arguments: [1, 2, 4]) func aThrowingRankEndsAll(ranks: Int) throws {
      let result = try Job.test("throwOnLastRank").run(ranks: ranks)
      #expect(result.status == 65 && !result.isTimedOut)
      let place = ranks == 1 ? "" : "rank \(ranks - 1) of \(ranks): "
      #expect(result.standardError.contains("\(place)the data are bad\n"))
      #expect(result.duration < .seconds(60))
    }

    @Test func otherErrorsAreInternal() throws {
      #expect(try Job.test("throwPlainError").run(ranks: 2).status == 70)
      #expect(try Job.test("throwPlainError").run().status == 70)
    }

    @Test func aStatusIsReturnedInOrder() throws {
      let result = try Job.test("returnStatus").run(ranks: 3, options: ["-q"])
      #expect(result.status == 64)
      #expect(result.standardError.split(separator: "\n").filter { $0 == "usage: nothing" }.count == 1)
      #expect(!result.standardError.contains("Abort") && !result.standardError.contains("mpirun"))
    }

    @Test func abortEndsTheJob() throws {
      #expect(try Job.test("abortWithStatus").run(ranks: 2).status == 74)
      #expect(try Job.test("abortWithStatus").run().status == 74)
    }

    /// Otherwise it would be forgotten on several ranks.
    @Test func aTestOfOneProcessMayNotUseTheWorld() throws {
      let result = try Job.test("touchTheWorld").run()
      #expect(result.status != 0)
      #expect((result.standardOutput + result.standardError).contains("it cannot be .oneProcess"))
    }

    @Test func oneRankStartsMPIOnlyWhenNeeded() throws {
      let result = try Job.test("localWorld").run()
      #expect(result.status == 0)
      #expect(result.standardOutput.contains("without MPI: true"))
      #expect(result.standardOutput.contains("with MPI: [7]"))
    }

    @Test(arguments: [1, 2, 5]) func examplesRun(ranks: Int) throws {
      for example in ["hello", "ring", "reduce", "overlap", "user-operation"] {
        let result = try Job("example-\(example)").run(ranks: ranks)
        #expect(result.status == 0, "\(example): \(result.standardError)")
        #expect(result.standardOutput.contains("\(example): "))
      }
    }
  }
}

import Foundation
import Reporting
import Testing
import _TestSupport

/// Signals that ask a run to stop.
@Suite(.serialized, .outsideMPI) struct StopSignalTests {
  private let shell: Shell
  private let endless = "--data glyphs:train=60,test=20 --model mlp:8 --minibatch 20 --steps 100000000 --log-every 100 --quiet"

  init() throws { shell = try Shell() }

  /// Starts an endless run, sends `signals` one after another once it takes steps, and gives how it ended.
  ///
  /// - Parameter prefix: What starts it; these tests may have been started with hangups ignored, by `nohup`.
  private func stop(
    _ signals: [String], prefix: String = "exec env --default-signal=HUP", model: String = "mlp:8"
  ) throws -> (status: String, words: String, checkpoints: [String]) {
    let script = """
      rm -rf ck m.jsonl; touch m.jsonl
      (\(prefix) $train \(endless.replacing("mlp:8", with: model)) --checkpoint ck --metrics m.jsonl > /dev/null 2> words) & job=$!
      until grep -q '"step"' m.jsonl; do sleep 0.05; done
      for signal in \(signals.joined(separator: " ")); do kill -$signal $job; sleep 0.3; done
      wait $job; echo $?
      """
    let status = try shell.output(script).trimmingCharacters(in: .whitespacesAndNewlines)
    let saved = (try? FileManager.default.contentsOfDirectory(atPath: shell.path + "/ck")) ?? []
    return (status, try shell.text("words"), saved)
  }

  @Test(arguments: ["TERM", "INT", "USR1", "USR2", "HUP", "XCPU"])
  func theRunSavesAndSaysSo(_ name: String) throws {
    let (status, words, saved) = try stop([name])
    #expect(status == "75" && words.contains("asked to stop by SIG\(name) after step"), "\(status) \(words)")
    #expect(saved.count == 1 && saved[0].hasPrefix("step-"), "\(saved)")
  }

  /// A product of oneDNN keeps its stack pointer in a block of the heap, most of the time in a model of large layers: what a signal
  /// saved there destroyed the heap, in every second run.
  @Test func aSignalDuringAProductDestroysNothing() throws {
    for _ in 0..<6 {
      let (status, words, saved) = try stop(["TERM"], model: "mlp:512,512 --learning-rate 0.001")
      #expect(status == "75" && saved.count == 1, "\(status) \(words)")
    }
  }

  /// Whether a signal meets such a product depends on the processor; what its handler uses does not.
  @Test func handlersUseAStackOfTheirOwn() {
    let signals = [SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP, SIGXCPU, SIGPIPE]
    var earlier = signals.map { _ in sigaction() }
    var earlierStack = stack_t()
    for (index, signal) in signals.enumerated() { sigaction(signal, nil, &earlier[index]) }
    sigaltstack(nil, &earlierStack)
    defer {
      for (index, signal) in signals.enumerated() { sigaction(signal, &earlier[index], nil) }
      sigaltstack(&earlierStack, nil)
    }
    StopSignal.install()
    for signal in [SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGXCPU] {
      var action = sigaction()
      sigaction(signal, nil, &action)
      #expect(action.sa_flags & SA_ONSTACK != 0, "\(signal)")
    }
    var stack = stack_t()
    sigaltstack(nil, &stack)
    #expect(stack.ss_sp != earlierStack.ss_sp && stack.ss_size >= 1 << 14, "\(stack.ss_size) bytes")
  }

  /// `nohup` starts a run so.
  @Test func hangUpsThatAreIgnoredStayIgnored() throws {
    let (status, words, saved) = try stop(["HUP", "TERM"], prefix: "trap '' HUP; exec")
    #expect(status == "75" && words.contains("asked to stop by SIGTERM"), "\(status) \(words)")
    #expect(saved.count == 1)
  }

  /// A soft limit of processor time, which the system enforces.
  @Test func aLimitOfProcessorTimeSaves() throws {
    let result = try shell.run("ulimit -S -t 1; exec $train \(endless) --checkpoint ck > /dev/null")
    #expect(result.status == 75 && result.standardError.contains("asked to stop by SIGXCPU"), "\(result)")
    #expect(try shell.output("ls ck").hasPrefix("step-"))
  }

  @Test func mpirunPassesSignalsOn() throws {
    var job = Job(
      "train",
      endless.split(separator: " ").map(String.init) + ["--checkpoint", shell.path + "/ck", "--metrics", shell.path + "/m"])
    job.timeLimit = 240
    let running = try job.start(ranks: 2, options: ["-q"])
    for _ in 0..<600 where !((try? shell.text("m")) ?? "").contains("\"step\"") { Thread.sleep(forTimeInterval: 0.1) }
    kill(running.processIdentifier, SIGUSR2)
    let ended = running.wait()
    #expect(ended.status == 75 && ended.standardError.contains("asked to stop by SIGUSR2"), "\(ended)")
    #expect(try shell.output("ls ck").hasPrefix("step-"))
  }
}

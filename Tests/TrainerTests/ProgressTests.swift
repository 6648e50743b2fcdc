import Files
import Foundation
import Reporting
import Strategies
import Testing
import Trainer
import _TestSupport

@Suite struct ProgressTests {
  private func progress(
    step: Int, firstStep: Int = 0, seconds: Double, epoch: Int = 1, accuracy: Double? = nil
  ) -> ProgressDisplay.Progress {
    .init(
      epoch: epoch, epochs: 4, step: step, steps: 400, samples: (step - firstStep) * 256, samplesLeft: (400 - step) * 256,
      loss: 0.12345, accuracy: accuracy,
      bytesPerStep: 43124, seconds: seconds)
  }

  @Test func plainLinesComeAtIntervals() {
    var text = ""
    let display = ProgressDisplay(.lines(interval: 10)) { text += $0 }
    for step in 1...200 { display.update(progress(step: step, seconds: Double(step) * 0.15)) }
    display.evaluated(progress(step: 200, seconds: 30, accuracy: 0.975))
    display.finish()
    #expect(
      text == """
        epoch 1/4  step 67/400  loss 0.123  1.71 k samples/s  43.1 kB/step  50 s left
        epoch 1/4  step 134/400  loss 0.123  1.71 k samples/s  43.1 kB/step  40 s left
        epoch 1/4  step 200/400  loss 0.123  accuracy 97.50 %  1.71 k samples/s  43.1 kB/step  30 s left

        """)
  }

  @Test func aTerminalShowsOneLineThatFits() {
    var writes: [String] = []
    let display = ProgressDisplay(.line(width: 30)) { writes.append($0) }
    display.update(progress(step: 1, seconds: 0.01))
    display.update(progress(step: 2, seconds: 0.02))
    display.update(progress(step: 30, seconds: 0.2))
    display.message("warning: something")
    display.evaluated(progress(step: 40, seconds: 0.3, accuracy: 0.5))
    display.finish()
    display.finish()
    #expect(
      writes == [
        "\r\u{1B}[Kepoch 1/4  step 1/400  loss 0", "\r\u{1B}[Kepoch 1/4  step 30/400  loss ",
        "\r\u{1B}[Kwarning: something\n",
        "epoch 1/4  step 40/400  loss 0.123  accuracy 50.00 %  34.1 k samples/s  43.1 kB/step  0.3 s\n",
        "\r\u{1B}[Kepoch 1/4  step 40/400  loss ", "\r\u{1B}[K",
      ])
  }

  @Test func ofTextTheLossIsToldInThreeUnits() {
    var text = ""
    let display = ProgressDisplay(.lines(interval: 10)) { text += $0 }
    var progress = progress(step: 200, seconds: 30, accuracy: 0.5)
    (progress.isOfText, progress.loss) = (true, 1.866)
    display.evaluated(progress)
    #expect(
      text == """
        epoch 1/4  step 200/400  loss 1.866  perplexity 6.46  2.69 bits/character  accuracy 50.00 %  1.71 k samples/s  43.1 kB/step  30 s left

        """)
  }

  @Test func quietShowsMessagesAlone() {
    var text = ""
    let display = ProgressDisplay(.quiet) { text += $0 }
    display.update(progress(step: 1, seconds: 100))
    display.evaluated(progress(step: 1, seconds: 101))
    display.message("a warning")
    display.finish()
    #expect(text == "a warning\n")
  }

  @Test func theTimeLeftFollowsTheLastMinute() {
    var last = ""
    let display = ProgressDisplay(.lines(interval: 1)) { last = $0 }
    // Slow for ten minutes, then four times faster: the estimate must have left the slow pace behind.
    var seconds = 0.0
    for step in 101...250 {
      seconds += step <= 200 ? 6 : 1.5
      display.update(progress(step: step, firstStep: 100, seconds: seconds))
    }
    // After 75 s the slow pace still weighs 2^(−75/30): 150 steps of 2.3 s.
    #expect(last.hasSuffix("  5 min 44 s left\n"), "\(last)")
  }

  @Test(arguments: [
    (0.0, "0.0 s"), (4.24, "4.2 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (65, "1 min 05 s"),
    (3599.7, "1 h 00 min"), (7380, "2 h 03 min"), (-1, "?"), (.infinity, "?"),
  ])
  func durations(seconds: Double, expected: String) { #expect(duration(seconds) == expected) }

  @Test(arguments: [
    (0.0, "0 "), (967, "967 "), (999.4, "999 "), (999.6, "1.00 k"), (43124, "43.1 k"), (99960, "100 k"),
    (2_678_824, "2.68 M"), (1e18, "1000 P"), (.nan, "nan "),
  ])
  func prefixes(value: Double, expected: String) { #expect(withPrefix(value) == expected) }

  @Test func decimalsAgreeWithTheLibraryOfC() {
    for value in [0, 0.125, -0.0004, 1.005, 97.5, 123456.789, 1e11, -3.14159, 0.9996] {
      for digits in 0...4 {
        let reference = String(format: "%.\(digits)f", value)
        // Ties differ: C rounds the binary value, this the scaled one; and minus zero is written as zero.
        let mine = decimal(value, digits: digits)
        #expect(abs(Double(mine)! - Double(reference)!) <= pow(10, -Double(digits)) * 1.001)
        #expect(mine.count == reference.count || reference.hasPrefix("-0"))
      }
    }
  }

  @Test(.outsideMPI)
  func aSignalSetsTheFlag() async {
    await #expect(processExitsWith: .success) {
      StopSignal.install()
      guard !StopSignal.isRequested, StopSignal.name == nil else { exit(1) }
      send(SIGTERM)
      guard StopSignal.name == "SIGTERM" else { exit(2) }
    }
    await #expect(processExitsWith: .success) {
      StopSignal.install()
      send(SIGUSR1)
      guard StopSignal.name == "SIGUSR1" else { exit(2) }
    }
    await #expect(processExitsWith: .signal(SIGINT)) {
      StopSignal.install()
      send(SIGINT)
      guard StopSignal.name == "SIGINT" else { exit(2) }
      send(SIGINT)
      sleep(5)
      exit(3)
    }
  }
}

/// Sends this process a signal, and waits for the flag.
///
/// Threads of tests block signals, so that the main thread takes it.
private func send(_ signal: Int32) {
  kill(getpid(), signal)
  for _ in 0..<500 where !StopSignal.isRequested { usleep(10_000) }
}

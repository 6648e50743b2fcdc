import Files
import Foundation
import MPI
import Reporting
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

@Suite(.serialized) struct MetricsTests {
  @Test func valuesAreWrittenAsJSON() throws {
    let value: JSONValue = [
      "z": 1, "a": [true, false, nil, 0.1, 1e-5, -0.0, 1e300], "text": "\"\\/\n\r\t\u{1}\u{1F}ä😀", "empty": .object([]),
      "nan": .number(Double.nan), "infinity": .number(-Double.infinity), "none": .number(nil), "rate": .number(Float(0.1)),
      "large": .integer(.max),
    ]
    let text =
      #"{"z":1,"a":[true,false,null,0.1,1e-05,-0.0,1e+300],"text":"\"\\/\n\r\t\u0001\u001fä😀","empty":{},"#
      + #""nan":null,"infinity":null,"none":null,"rate":0.1,"large":9223372036854775807}"#
    #expect(value.description == text)
    // An independent reader agrees.
    let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
    #expect(object?["text"] as? String == "\"\\/\n\r\t\u{1}\u{1F}ä😀")
    #expect(object?["large"] as? Int == .max)
  }

  @Test func numbersReadBackAsThemselves() throws {
    for value in [Double.pi, 0.1 + 0.2, .leastNonzeroMagnitude, .greatestFiniteMagnitude, 1 / 3.0, 12345678.9, 1e16] {
      #expect(Double(JSONValue.number(value).description) == value)
    }
    for value in [Float.pi, 0.1, .leastNonzeroMagnitude, .greatestFiniteMagnitude, 1 / 3.0] {
      #expect(Float(JSONValue.number(value).description) == value)
    }
  }

  @Test func linesKeepTheOrderOfTheirKeys() {
    let start = StartEvent(ranks: 8, hosts: 1, parameters: 669_706, options: [("model", "mlp:512,512"), ("seed", 1)])
    #expect(
      "\(start.json)" == #"{"event":"start","ranks":8,"hosts":1,"parameters":669706,"model":"mlp:512,512","seed":1}"#)
    let step = StepEvent(
      step: 10, epoch: 1, samples: 2560, loss: 1.93, learningRate: 0.1, seconds: 0.84, wireBytes: 43124, messages: 14,
      residualRatio: 1.7)
    #expect(
      "\(step.json)" == #"{"event":"step","step":10,"epoch":1,"samples":2560,"loss":1.93,"learningRate":0.1,"#
        + #""seconds":0.84,"wireBytes":43124,"messages":14,"residualRatio":1.7}"#)
    var epoch = EpochEvent(epoch: 1, trainLoss: 0.61, test: TestResult(loss: 0.44, accuracy: 0.871), seconds: 9.2)
    #expect(
      "\(epoch.json)"
        == #"{"event":"epoch","epoch":1,"trainLoss":0.61,"testLoss":0.44,"testAccuracy":0.871,"seconds":9.2}"#)
    epoch.test.digitAccuracy = 0.99
    #expect("\(epoch.json)".hasSuffix(#""testAccuracy":0.871,"testDigitAccuracy":0.99,"seconds":9.2}"#))
    (epoch.test.digitAccuracy, epoch.test.perplexity, epoch.test.bitsPerCharacter) = (nil, 2, 1)
    #expect("\(epoch.json)".hasSuffix(#""testAccuracy":0.871,"testPerplexity":2.0,"testBitsPerCharacter":1.0,"seconds":9.2}"#))
    #expect(
      "\(CheckpointEvent(step: 100, path: "d/step-00000100").json)"
        == #"{"event":"checkpoint","step":100,"path":"d/step-00000100"}"#)
    #expect("\(WarningEvent("a text").json)" == #"{"event":"warning","text":"a text"}"#)
  }

  @Test func theEndLineHoldsEverything() {
    var timing = PhaseTimes()
    timing.wait = 1.5
    let wire = EndEvent.Wire(
      bytesSent: [1, 2], bytesReceived: [3, 4], messages: [5, 6], predictedBytesSent: [1, 2], insideHost: [0, 0],
      bytesReturned: [1, 0], bitsPerParameter: nil, compressionRatio: 29.4, fallbacks: 0)
    let end = EndEvent(
      steps: 940, epochs: 4, seconds: 37, test: TestResult(loss: 0.21, accuracy: 0.941), modelHash: 0x9F0C, wire: wire,
      timing: timing)
    let pieces: [String] = [
      #"{"event":"end","steps":940,"epochs":4,"seconds":37.0,"testLoss":0.21,"testAccuracy":0.941,"#,
      #""modelHash":"0000000000009f0c","wire":{"bytesSent":[1,2],"bytesReceived":[3,4],"messages":[5,6],"#,
      #""predictedBytesSent":[1,2],"insideHost":[0,0],"bytesReturned":[1,0],"bitsPerParameter":null,"compressionRatio":29.4,"fallbacks":0},"#,
      #""timing":{"compute":0.0,"encode":0.0,"decode":0.0,"wait":1.5,"update":0.0,"data":0.0}}"#,
    ]
    #expect("\(end.json)" == pieces.joined())
  }

  @Test func aResumedRunAppendsAfterTheLastWholeLine() throws {
    let directory = try TemporaryDirectory(on: world.alone)
    let path = directory.path + "/metrics.jsonl"
    func contents() throws -> String { try String(contentsOfFile: path, encoding: .utf8) }
    func write(_ step: Int, appending: Bool) throws {
      let writer = try MetricsWriter(path, appending: appending) { Issue.record("\($0)") }
      writer.write(CheckpointEvent(step: step, path: "p"))
    }
    try write(1, appending: false)
    try write(2, appending: true)
    let two = #"{"event":"checkpoint","step":1,"path":"p"}"# + "\n" + #"{"event":"checkpoint","step":2,"path":"p"}"# + "\n"
    #expect(try contents() == two)
    // A killed run left half a line, a long one.
    try edit(path) { $0 += Data(("{\"event\":\"" + String(repeating: "x", count: 10_000)).utf8) }
    try write(3, appending: true)
    #expect(try contents() == two + #"{"event":"checkpoint","step":3,"path":"p"}"# + "\n")
    try edit(path) { $0 = Data("no line at all".utf8) }
    try write(4, appending: true)
    #expect(try contents() == #"{"event":"checkpoint","step":4,"path":"p"}"# + "\n")
    try write(5, appending: false)
    #expect(try contents() == #"{"event":"checkpoint","step":5,"path":"p"}"# + "\n")
  }

  @Test func aFullDiskIsSaidOnce() throws {
    var warnings: [String] = []
    let writer = try MetricsWriter("/dev/full", appending: false) { warnings.append($0) }
    writer.write(["a": 1])
    writer.write(["a": 2])
    #expect(warnings == ["some metrics will be missing: cannot write /dev/full: No space left on device; the run goes on"])
  }

  @Test func aFileThatCannotBeOpenedIsAnError() {
    let error = #expect(throws: FileError.self) { _ = try MetricsWriter("/proc/none/x", appending: true) { _ in } }
    #expect(error?.description == "cannot write /proc/none/x: No such file or directory")
  }
}

import Buffers
import Networks
import Testing

/// A caller's mistakes end the program with a sentence, before memory is touched.
@Suite struct MistakeTests {
  private static func run(label: Int32 = 0, features: Int = 3, gradientCount: Int? = nil) throws {
    let started = try Started("mlp:4", inputs: 3, classes: 2)
    let batch = Minibatch(capacity: 1, featureCount: features)
    batch.labels[0] = label
    batch.count = 1
    let gradient = gradientCount.map { FloatBuffer(count: $0) } ?? started.gradient
    _ = try started.network.gradient(of: batch, parameters: started.parameters, scale: 1, into: gradient) { _ in }
  }

  @Test func nothingIsWrongWithoutAMistake() throws { try Self.run(label: 1) }

  @Test func labelsAreChecked() async {
    await #expect(processExitsWith: .failure) { try MistakeTests.run(label: 2) }
    await #expect(processExitsWith: .failure) { try MistakeTests.run(label: -1) }
  }

  @Test func sizesAreChecked() async {
    await #expect(processExitsWith: .failure) { try MistakeTests.run(features: 4) }
    await #expect(processExitsWith: .failure) { try MistakeTests.run(gradientCount: 5) }
  }
}

import Buffers
import Networks
import Testing

@Suite struct DropoutTests {
  private let origin = MinibatchOrigin(seed: 5, step: 3, position: 0)

  private func gradient(_ model: String, of batch: Minibatch, scale: Float = 1) throws -> (BatchResult, [Double]) {
    let started = try Started(model, inputs: 40, classes: 3)
    return (try started.run(batch, scale: scale), started.gradient.doubles)
  }

  private func batch(_ count: Int = 24) -> Minibatch {
    let batch = Minibatch.random(count: count, featureCount: 40, classCount: 3)
    batch.origin = origin
    return batch
  }

  /// What is dropped belongs to a sample's place among those of the step, not to the rank that has it.
  @Test(arguments: ["dropout=0.4", "dropconnect=0.5", "dropout=0.2,dropconnect=0.3"])
  func masksDoNotDependOnTheRanks(_ keys: String) throws {
    let model = "mlp:35,19,\(keys)"
    let batch = batch()
    let (whole, expected) = try gradient(model, of: batch)
    for cuts in [[0, 8, 16, 24], [0, 1, 6, 24]] {
      var (sum, loss) = (Array(repeating: 0.0, count: expected.count), 0.0)
      for (start, end) in zip(cuts, cuts.dropFirst()) {
        let part = batch.part(start..<end)
        part.origin = MinibatchOrigin(seed: 5, step: 3, position: start)
        let (result, gradient) = try gradient(model, of: part)
        loss += result.lossSum
        for index in sum.indices { sum[index] += gradient[index] }
      }
      #expect(abs(loss - whole.lossSum) < 1e-5 * whole.lossSum)
      let largest = expected.map { abs($0) }.max()!
      #expect(sum.indices.allSatisfy { abs(sum[$0] - expected[$0]) <= 1e-5 * largest })
    }
    // Another step, seed or place has others.
    for other in [
      MinibatchOrigin(seed: 5, step: 4, position: 0), MinibatchOrigin(seed: 6, step: 3, position: 0),
    ] {
      batch.origin = other
      #expect(try gradient(model, of: batch).0.lossSum != whole.lossSum)
    }
  }

  /// Nothing is dropped without a place in a run, in an evaluation, and with a probability of 0.
  @Test(arguments: ["dropout=0.4", "dropconnect=0.5", "dropout=0,dropconnect=0"]) func theIdentityIsExact(_ keys: String) throws
  {
    let batch = batch()
    let plain = try Started("mlp:35,19", inputs: 40, classes: 3)
    let expected = try plain.run(batch)
    let hash = plain.gradient.hash()
    let started = try Started("mlp:35,19,\(keys)", inputs: 40, classes: 3)
    #expect(try started.network.evaluate(batch, parameters: started.parameters, logPosteriors: nil) == expected)
    if !keys.contains("=0,") {
      #expect(try started.run(batch) != expected)
      batch.origin = nil
    }
    #expect(try started.run(batch) == expected)
    #expect(started.gradient.hash() == hash)
  }

  /// The mean over many draws is the value itself, within five standard deviations.
  @Test(arguments: [0.1, 0.5, 0.9]) func theExpectationStays(_ rate: Double) throws {
    let count = 1000
    let network = try ComposedNetwork(
      Sequence([Dropout(rate), Linear(2)]), input: SampleShape(height: 1, width: 1, channels: count))
    let (parameters, gradient) = (FloatBuffer(count: network.layout.count), FloatBuffer(count: network.layout.count))
    let batch = Minibatch(capacity: 100, featureCount: count)
    for index in 0..<100 * count { batch.inputs[index] = 1 }
    (batch.count, batch.origin) = (100, origin)
    // With weights of 0 and class 0 the gradient of a weight is −1/2 of its input, over all samples.
    _ = try network.gradient(of: batch, parameters: parameters, scale: 1 / 50, into: gradient) { _ in }
    let mean = (0..<count).reduce(0.0) { $0 - Double(gradient[$1]) } / Double(count)
    let deviation = (rate / (1 - rate) / Double(100 * count)).squareRoot()
    #expect(abs(mean - 1) < 5 * deviation, "\(mean)")
  }

  @Test func nanIsNotDropped() throws {
    let batch = batch(3)
    for index in 0..<120 { batch.inputs[index] = .nan }
    let started = try Started("mlp:35,dropout=0.9", inputs: 40, classes: 3)
    #expect(try started.run(batch).lossSum.isNaN)
  }

  @Test(arguments: [
    ("mlp:5,dropout=1", "from 0 to below 1, not '1'"), ("mlp:5,dropconnect=-0.1", "dropconnect is a probability"),
    ("mlp:5,dropout=half", "not 'half'"), ("cnn:dropout=nan", "not 'nan'"),
  ]) func mistakesAreNamed(_ text: String, _ part: String) {
    let error = #expect(throws: SpecificationError.self) { try models.make(text) }
    #expect(error?.description.contains(part) == true, "\(error?.description ?? "no error")")
  }
}

import Buffers
import Foundation
import Networks
import Testing

@Suite struct BatchNormalizationTests {
  private static let input = SampleShape(height: 3, width: 2, channels: 19)

  /// A network that normalizes its inputs, so that their moments are known.
  private func network(isSynchronized: Bool = false) throws -> ComposedNetwork {
    try ComposedNetwork(
      Sequence([
        BatchNormalization(isSynchronized: isSynchronized), Convolution(5, kernel: (2, 2), hasBiases: false),
        BatchNormalization(relu: false, isSynchronized: isSynchronized), Nonlinearity(.sigmoid), Linear(4),
      ]), input: Self.input)
  }

  private func parameters(of network: any Network) -> FloatBuffer {
    let parameters = FloatBuffer(count: network.layout.count)
    network.initialize(parameters, seed: 2)
    return parameters
  }

  /// Mean and variance n/(n − 1) of the inputs of a channel, in plain fp64.
  private func moments(_ batch: Minibatch, _ channel: Int) -> (mean: Double, variance: Double) {
    let values = (0..<batch.count * 6).map { Double(batch.inputs[$0 * 19 + channel]) }
    let mean = values.reduce(0, +) / Double(values.count)
    return (mean, values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1))
  }

  @Test func tensorsStartAsTheIdentityAndStatisticsAreNone() throws {
    let network = try network()
    let parameters = parameters(of: network)
    let names = network.layout.tensors.map(\.name)
    #expect(
      names == [
        "layers.4.weight", "layers.4.bias", "layers.3.weight", "layers.3.bias", "layers.2.weight", "layers.1.weight",
        "layers.1.bias",
      ])
    for tensor in network.layout.tensors where ["layers.3", "layers.1"].contains(tensor.name.prefix(8)) {
      let start: Float = tensor.name.hasSuffix("weight") ? 1 : 0
      #expect(tensor.range.allSatisfy { parameters[$0] == start })
    }
    let statistics = try #require(network.statistics)
    #expect(
      statistics.layout.tensors.map(\.name) == [
        "layers.1.running_mean", "layers.1.running_var", "layers.3.running_mean", "layers.3.running_var",
      ])
    #expect(statistics.layout.tensors.map(\.shape) == [[19], [19], [5], [5]])
    #expect(Set(names).isDisjoint(with: statistics.layout.tensors.map(\.name)))
    #expect(try models.make("mlp:5")(7, 2).statistics == nil)
  }

  /// A gradient proposes; a step that is accepted takes the share of a tenth, with the variance of n/(n − 1).
  @Test func onlyAcceptedGradientsLeaveATrace() throws {
    let network = try network()
    let statistics = try #require(network.statistics)
    let (parameters, gradient) = (parameters(of: network), FloatBuffer(count: network.layout.count))
    let batches = (1...2).map { Minibatch.random(count: 23, featureCount: 114, classCount: 4, seed: $0) }
    func compute(_ batch: Minibatch) throws {
      _ = try network.gradient(of: batch, parameters: parameters, scale: 1, into: gradient) { _ in }
    }
    let start = statistics.values.hash()
    try compute(batches[0])
    #expect(statistics.values.hash() == start && statistics.weight[0] == 0)
    // The last gradient counts, once.
    try compute(batches[1])
    network.accept()
    network.accept()
    for channel in 0..<19 {
      let (mean, variance) = moments(batches[1], channel)
      #expect(abs(Double(statistics.values[channel]) - 0.1 * mean) < 1e-6)
      #expect(abs(Double(statistics.values[19 + channel]) - 0.9 - 0.1 * variance) < 1e-6)
    }
    #expect(statistics.weight[0] == 0.1 * 23)
    let before = statistics.values.hash()
    try statistics.restoring {
      try compute(batches[0])
      network.accept()
      #expect(statistics.values.hash() != before)
    }
    // Neither an empty minibatch nor an evaluation is a batch.
    try compute(Minibatch(capacity: 3, featureCount: 114))
    network.accept()
    _ = try network.evaluate(batches[0], parameters: parameters, logPosteriors: nil)
    network.accept()
    #expect(statistics.values.hash() == before)
  }

  /// Ranks with different statistics evaluate with those of all their samples, and one rank with its own bits.
  @Test func statisticsCombineToThoseOfAllSamples() throws {
    let network = try network()
    let statistics = try #require(network.statistics)
    // Sets of 3 and 1 times as many samples, whose pooled variance holds the distance of their means.
    var (first, second) = ([Float](repeating: 1, count: 48), [Float](repeating: 5, count: 48))
    for channel in 0..<19 { (first[19 + channel], second[19 + channel]) = (2, 6) }
    statistics.combine([(3, first[...]), (0, ArraySlice(repeating: .nan, count: 48)), (1, second[...])])
    #expect(statistics.combined[0] == 2 && statistics.combined[19] == 3 + 3)
    let bits = (0..<48).map { Float($0) * 0.1 + 0.01 }
    statistics.combine([(0.3, bits[...])])
    #expect((0..<48).allSatisfy { statistics.combined[$0] == bits[$0] })
    statistics.combine([(0, first[...])])
    #expect((0..<48).allSatisfy { statistics.combined[$0] == bits[$0] })

    // Evaluation with these is that of inputs normalized before.
    let batch = Minibatch.random(count: 2, featureCount: 114, classCount: 4)
    let parameters = parameters(of: network)
    let loss = try network.evaluate(batch, parameters: parameters, logPosteriors: nil).lossSum
    for index in 0..<2 * 114 {
      let channel = index % 19
      batch.inputs[index] = (batch.inputs[index] - bits[channel]) / (bits[19 + channel] + 1e-5).squareRoot()
    }
    statistics.combine([(1, (0..<48).map { (19..<38).contains($0) || $0 >= 43 ? Float(1 - 1e-5) : 0 }[...])])
    for channel in 0..<10 { statistics.combined[38 + channel] = bits[38 + channel] }
    #expect(abs(try network.evaluate(batch, parameters: parameters, logPosteriors: nil).lossSum - loss) < 1e-5)
  }

  /// Samples of a large mean keep their variance.
  @Test func aLargeMeanCostsNoVariance() throws {
    let network = try network()
    let batch = Minibatch.random(count: 200, featureCount: 114, classCount: 4)
    for index in 0..<200 * 114 { batch.inputs[index] += 10_000 }
    let gradient = FloatBuffer(count: network.layout.count)
    _ = try network.gradient(of: batch, parameters: parameters(of: network), scale: 1, into: gradient) { _ in }
    network.accept()
    for channel in 0..<19 {
      let (mean, variance) = moments(batch, channel)
      let statistics = try #require(network.statistics)
      #expect(abs(Double(statistics.values[channel]) / (0.1 * mean) - 1) < 1e-6)
      #expect(abs((Double(statistics.values[19 + channel]) - 0.9) / (0.1 * variance) - 1) < 1e-5)
    }
  }

  @Test func nothingOfOneRowAndNaNPassesOn() throws {
    let network = try models.make("mlp:6,norm=batch")(5, 3)
    let parameters = parameters(of: network)
    let gradient = FloatBuffer(count: network.layout.count)
    let one = Minibatch.random(count: 1, featureCount: 5, classCount: 3)
    let result = try network.gradient(of: one, parameters: parameters, scale: 1, into: gradient) { _ in }
    #expect(result.lossSum.isFinite && gradient.doubles.allSatisfy(\.isFinite))
    let before = try #require(network.statistics).values.hash()
    network.accept()
    #expect(try #require(network.statistics).values.hash() == before)

    let batch = Minibatch.random(count: 4, featureCount: 5, classCount: 3)
    batch.inputs[7] = .nan
    #expect(try network.gradient(of: batch, parameters: parameters, scale: 1, into: gradient) { _ in }.lossSum.isNaN)
    #expect(network.layout.tensors.allSatisfy { tensor in tensor.range.contains { gradient[$0].isNaN } })
  }

  /// Ranks that share statistics compute what one does with all their samples, a rank without samples among them.
  @Test(arguments: [[0, 5, 12], [0, 1, 12, 12], [0, 3, 3, 7, 12]]) func synchronizedRanksAreOne(_ cuts: [Int]) throws {
    let whole = try network(isSynchronized: true)
    let parameters = parameters(of: whole)
    let batch = Minibatch.random(count: 12, featureCount: 114, classCount: 4)
    let expected = FloatBuffer(count: parameters.count)
    let result = try whole.gradient(of: batch, parameters: parameters, scale: 1 / 12, into: expected) { _ in }
    whole.accept()

    let ranks = try ThreadedGather(count: cuts.count - 1).map { [self] rank, exchange in
      let network = try network(isSynchronized: true)
      network.statistics?.exchange = exchange
      let gradient = FloatBuffer(count: parameters.count)
      let part = batch.part(cuts[rank]..<cuts[rank + 1])
      let result = try network.gradient(of: part, parameters: parameters, scale: 1 / 12, into: gradient) { _ in }
      network.accept()
      return (result.lossSum, gradient.doubles, network.statistics!.values.values.map(\.bitPattern))
    }
    #expect(abs(ranks.reduce(0) { $0 + $1.0 } - result.lossSum) <= 1e-6 * result.lossSum)
    // Some gradients are 0 but for rounding: what moves all inputs of a normalization alike changes nothing.
    let largest = expected.doubles.map { abs($0) }.max()!
    for index in 0..<expected.count {
      #expect(abs(ranks.reduce(0) { $0 + $1.1[index] } - Double(expected[index])) <= 1e-6 * largest)
    }
    let statistics = try #require(whole.statistics)
    #expect(ranks.allSatisfy { $0.2 == ranks[0].2 })
    for (index, bits) in ranks[0].2.enumerated() {
      #expect(abs(Float(bitPattern: bits) - statistics.values[index]) < 1e-6)
    }
  }
}

/// Ranks as threads that gather through memory.
final class ThreadedGather: @unchecked Sendable {
  private let count: Int
  private let lock = NSCondition()
  private var records: [[Double]?]
  private var taken = 0

  init(count: Int) {
    self.count = count
    records = Array(repeating: nil, count: count)
  }

  private final class Rank: StatisticsExchange {
    let rank: Int
    let all: ThreadedGather

    init(_ rank: Int, _ all: ThreadedGather) { (self.rank, self.all) = (rank, all) }

    func gather(_ own: [Double]) -> [[Double]] { all.gather(own, rank) }
  }

  private func gather(_ own: [Double], _ rank: Int) -> [[Double]] {
    lock.lock()
    defer { lock.unlock() }
    // The gather before is over when all have taken its records.
    while records[rank] != nil { lock.wait() }
    records[rank] = own
    lock.broadcast()
    while records.contains(where: { $0 == nil }) { lock.wait() }
    let all = records.map { $0! }
    taken += 1
    if taken == count {
      (records, taken) = (Array(repeating: nil, count: count), 0)
      lock.broadcast()
    }
    return all
  }

  /// What `body` returns on each rank.
  func map<Result>(_ body: @escaping (_ rank: Int, _ exchange: any StatisticsExchange) throws -> Result) throws -> [Result] {
    let (found, group) = (FoundOnRanks<Result>(), DispatchGroup())
    nonisolated(unsafe) let body = body
    for rank in 0..<count {
      group.enter()
      let thread = Thread { [self] in
        found.note(Swift.Result { try body(rank, Rank(rank, self)) }, of: rank)
        group.leave()
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    group.wait()
    return try (0..<count).map { try found.results[$0]!.get() }
  }
}

/// What threads have returned.
private final class FoundOnRanks<Value>: @unchecked Sendable {
  private let lock = NSLock()
  private(set) var results: [Int: Result<Value, any Error>] = [:]

  func note(_ result: Result<Value, any Error>, of rank: Int) {
    lock.lock()
    results[rank] = result
    lock.unlock()
  }
}

import Buffers
import Datasets
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Files of CIFAR-10's binary version and a text, small ones made up.
private struct MadeUpData {
  let images: String
  let text: String

  /// The files in `directory`, which are not written yet.
  init(in directory: String) { (images, text) = (directory + "/images", directory + "/text.txt") }

  func write() throws {
    try FileManager.default.createDirectory(atPath: images, withIntermediateDirectories: true)
    let random = Philox(seed: 3, purpose: .tests)
    func records(_ numbers: Range<Int>) -> Data {
      func value(_ place: Int, of number: Int) -> UInt8 {
        UInt8(random.word(place, tensor: number) >> 26) + UInt8(number % 10 * 16)
      }
      return Data(
        numbers.flatMap { number -> [UInt8] in [UInt8(number % 10)] + (0..<3072).map { value($0, of: number) } })
    }
    try records(0..<70).write(to: URL(fileURLWithPath: images + "/data_batch_1.bin"))
    try records(70..<101).write(to: URL(fileURLWithPath: images + "/data_batch_3.bin"))
    try records(101..<120).write(to: URL(fileURLWithPath: images + "/test_batch.bin"))
    let words = ["the ", "sea ", "is ", "grey; ", "and ", "so ", "we ", "wait\n"]
    let story = (0..<600).map { words[Int(random.word($0, tensor: 999) % 8)] }.joined()
    try Data(story.utf8).write(to: URL(fileURLWithPath: text))
  }
}

/// Variations of training samples: they follow from the seed and the sample's place in its step, not from who reads it.
@Suite(.serialized) struct VariedSamplesTests {
  /// A minibatch of what a loader reads at a step, or a part of it, by rows.
  private func rows(_ batch: Minibatch) -> [[Float]] {
    (0..<batch.count).map { row in
      Array(batch.inputs.values[row * batch.featureCount..<(row + 1) * batch.featureCount])
        + batch.labels[row * batch.targetCount..<(row + 1) * batch.targetCount].map { Float($0) }
    }
  }

  @Test(.oneProcess, arguments: ["cifar10", "text"])
  func aSampleIsTheSameForAnyNumberOfRanks(_ kind: String) throws {
    let directory = FileManager.default.temporaryDirectory.path + "/morse-varied-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let files = MadeUpData(in: directory)
    try files.write()
    let data = try datasets.make(kind == "text" ? "text:\(files.text),context=16" : "cifar10:\(files.images)")(1)
    var options = TrainerOptions()
    (options.minibatch, options.epochs) = (25, 2)
    let plan = RunPlan(options, sampleCount: data.count(.train))
    let alone = BatchLoader(data, plan: plan, seed: 7, rank: 0, of: 1)
    let plain = Minibatch(capacity: 25, of: data.form)
    var differing = 0
    for step in 0..<plan.steps {
      let expected = rows(alone.batch(at: step))
      #expect(expected.count == plan.places(of: step).count)
      for ranks in 2...4 {
        let loaders = (0..<ranks).map { BatchLoader(data, plan: plan, seed: 7, rank: $0, of: ranks) }
        for parts in 1...2 {
          let found = (0..<parts).flatMap { part in loaders.flatMap { rows($0.batch(at: step, part: part, of: parts)) } }
          #expect(found == expected, "step \(step), \(ranks) ranks, \(parts) parts")
        }
      }
      let order = SampleOrder(count: data.count(.train), seed: 7).epoch(plan.epoch(of: step))
      data.load(order[plan.places(of: step)], of: .train, into: plain)
      differing += zip(rows(plain), expected).count { $0 != $1 }
    }
    // Nearly all are varied, and in each epoch in another way.
    #expect(differing > plan.steps * 25 * 3 / 4)
    #expect(rows(alone.batch(at: 0)) == rows(BatchLoader(data, plan: plan, seed: 7, rank: 0, of: 1).batch(at: 0)))
    #expect(rows(alone.batch(at: 0)) != rows(BatchLoader(data, plan: plan, seed: 8, rank: 0, of: 1).batch(at: 0)))
  }

  private func varied(_ files: MadeUpData, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.data, $0.model, $0.codec) = ("cifar10:\(files.images)", "softmax", "none")
      ($0.minibatch, $0.steps, $0.learningRate) = (25, 12, 0.002)
      change(&$0)
    }
  }

  /// Whole runs: several ranks train as one does, in halves and with replicated steps, too; a resumed run is the unbroken one.
  @Test(arguments: [("all-reduce", "0"), ("double-buffer", "0"), ("all-reduce", "replicated:5")])
  func ranksTrainAsOneDoes(_ strategy: String, _ warmStart: String) throws {
    let directory = try TemporaryDirectory(on: world)
    let files = MadeUpData(in: directory.path)
    try directory.change { try files.write() }
    var options = varied(files) { $0.strategy = strategy }
    try options.set("warm-start", to: warmStart)
    let found = try trainedModel(options).values
    let resumed = try trainBrokenOff(after: 7, options)
    #expect(try train(options).modelHash == resumed.modelHash)
    guard let alone = try world.split(color: world.rank == 0 ? 0 : nil) else { return try world.barrier() }
    let expected = try trainedModel(options, on: alone).values
    #expect((0..<found.count).allSatisfy { abs(found[$0] - expected[$0]) < 1e-4 })
    // The images are varied.
    options.data += ",augment=false"
    let plain = try trainedModel(options, on: alone).values
    #expect((0..<found.count).contains { abs(found[$0] - plain[$0]) > 1e-3 })
    try world.barrier()
  }

  /// Text has no classes to deal by: one sentence, before any file is opened.
  @Test(.oneProcess, arguments: ["by-class", "dirichlet:0.5"]) func clientsCannotBeDealtTextByClass(_ partition: String) {
    let options = options { ($0.data, $0.partition, $0.clients) = ("text:/no/such/file", partition, 2) }
    #expect {
      _ = try Recipe(options)
    } throws: {
      "\($0)".contains("--partition \(partition) does not go with --data text:") && exitStatus(of: $0) == 64
    }
    #expect(throws: Never.self) { _ = try Recipe(self.varied(MadeUpData(in: "/")) { $0.partition = partition }) }
  }
}

internal import Buffers
internal import Checkpoints
internal import Datasets
internal import Foundation
internal import Networks
internal import Strategies

/// How a model of text writes.
public struct TextSampling: Hashable, Sendable {
  /// The number of characters to write.
  public var length = 500
  /// What log posteriors are divided by: below 1, probable characters become more probable; 0 takes the most probable one.
  public var temperature = 1.0
  /// The number of the most probable characters that are drawn from; nil for all.
  public var topCount: Int?
  /// The seed of the draws.
  public var seed: UInt64 = 1

  /// 500 characters, drawn as probable as they are.
  public init() {}

  /// The token that is drawn as number `number`, given the log posteriors of all; of equals, the lower is the more probable.
  ///
  /// Nil if a posterior is not a number.
  package func draw(_ logPosteriors: UnsafeBufferPointer<Float>, number: Int) -> Int? {
    guard logPosteriors.allSatisfy({ !$0.isNaN }) else { return nil }
    let ranked = logPosteriors.indices.sorted {
      (logPosteriors[$0], $1) > (logPosteriors[$1], $0)
    }
    guard temperature > 0 else { return ranked[0] }
    let tokens = ranked.prefix(topCount ?? ranked.count)
    let weights = tokens.map { exp(Double(logPosteriors[$0] - logPosteriors[ranked[0]]) / temperature) }
    // 24 random bits, as a share of all weights.
    var rest = Double(Philox(seed: seed, purpose: .textSampling, step: number).uniform(0)) * weights.reduce(0, +)
    for (token, weight) in zip(tokens, weights) {
      rest -= weight
      if rest < 0 { return token }
    }
    return tokens.last
  }
}

extension SavedModel {
  /// Writes text that continues `prompt`, one character after another; each is drawn from what the model predicts after the last
  /// characters before it, as many as it reads at once.
  ///
  /// The same on every machine whose products have the same bits. One rank alone writes.
  ///
  /// - Parameters:
  ///   - prompt: At least one character, all of them in the vocabulary of the data.
  ///   - sampling: How much is written, and how it is drawn.
  ///   - write: Called with each character.
  /// - Throws: `TrainingError` and `OptionError` before anything is written, and what `write` throws.
  public func continueText(
    _ prompt: String, by sampling: TextSampling = TextSampling(), _ write: (_ character: String) throws -> Void
  ) throws {
    guard rankCount == 1 else {
      throw TrainingError("text is written by one rank, not by \(rankCount); leave mpirun out", exitStatus: .usage)
    }
    guard let text = dataset as? TextDataset else {
      throw TrainingError(
        "\(run.path) is of the model \(run.options["model"] ?? "?") on \(data), which writes no text; transformer does",
        exitStatus: .configuration)
    }
    try run.check(data: dataset.fingerprint, of: data)
    var tokens: [Int]
    do { tokens = try text.vocabulary.encode(prompt) } catch { throw OptionError("--prompt: \(error)") }
    guard !tokens.isEmpty else { throw OptionError("--prompt has no character to go on from") }
    let length = network.inputCount
    let batch = Minibatch(capacity: 1, of: dataset.form)
    batch.count = 1
    let rows = FloatBuffer(count: length * network.classCount)
    for number in 0..<sampling.length {
      tokens.removeFirst(max(0, tokens.count - length))
      // What follows a position does not change what it predicts.
      for position in 0..<length { batch.inputs[position] = position < tokens.count ? Float(tokens[position]) : 0 }
      _ = try network.evaluate(batch, parameters: parameters, logPosteriors: rows)
      let row = rows.values(in: (tokens.count - 1) * network.classCount..<tokens.count * network.classCount)
      guard let token = sampling.draw(UnsafeBufferPointer(row), number: number) else {
        throw TrainingError(
          "\(run.path) has parameters that are not finite: it predicts no character", exitStatus: .configuration)
      }
      tokens.append(token)
      try write(text.vocabulary.decode([token]))
    }
  }
}

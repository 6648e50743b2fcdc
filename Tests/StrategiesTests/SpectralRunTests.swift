import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Whole runs with sums by singular values and by principal components.
@Suite(.serialized) struct SpectralRunTests {
  @Test(arguments: pairs(["svd:rank=1", "spectral:rank=4", "pca:length=16"], ["all-reduce", "double-buffer"]).dealt())
  func trainingLearns(_ codec: String, _ strategy: String) throws {
    let options = _TrainingSupport.options {
      ($0.codec, $0.strategy, $0.steps, $0.learningRate) = (codec, strategy, 120, 0.05)
    }
    let evaluation = try #require(try train(options).evaluation)
    #expect(evaluation.accuracy > 0.3, "\(codec), \(strategy): \(evaluation)")
  }
}

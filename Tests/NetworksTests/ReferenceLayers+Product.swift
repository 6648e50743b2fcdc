import Buffers
import Foundation
import Networks

extension ReferenceLayer {
  /// The product's layer of the same kind.
  var product: any Layer {
    switch self {
    case .convolution(let filters, let kernel, let stride, let padding):
      Convolution(filters, kernel: kernel, stride: stride, padding: padding)
    case .pooling(let window): MaxPooling(window)
    case .relu: Nonlinearity(.relu)
    case .sigmoid: Nonlinearity(.sigmoid)
    case .linear(let count): Linear(count)
    case .convolutionAlone(let filters, let kernel, let stride, let padding):
      Convolution(filters, kernel: kernel, stride: stride, padding: padding, hasBiases: false)
    case .linearAlone(let count): Linear(count, hasBiases: false)
    case .batchNormalization(let relu): BatchNormalization(relu: relu)
    case .residual(let body, let shortcut, let isNormalized):
      Residual(
        Sequence(body.map(\.product)), shortcut: shortcut.isEmpty ? nil : Sequence(shortcut.map(\.product)),
        end: isNormalized ? BatchNormalization(relu: true) : nil)
    case .highway(let width, let gateBias): Highway(Linear(width, .sigmoid), width: width, gateBias: gateBias)
    case .averagePooling: GlobalAveragePooling()
    case .tanh: Nonlinearity(.tanh)
    case .gelu: Nonlinearity(.gelu)
    case .linearOfEachPixel(let count, let hasBiases): Linear(count, forEachPixel: true, hasBiases: hasBiases)
    case .embedding(let tokens, let width): Embedding(tokenCount: tokens, width: width, bound: 0.7)
    case .layerNormalization: LayerNormalization()
    case .attention(let heads): Attention(heads: heads)
    case .dropout(let rate, _): Dropout(rate)
    case .dropConnect(let count, let rate, _): Linear(count, dropConnect: rate)
    }
  }
}

extension ReferenceLayer {
  /// Whether training and evaluation differ.
  var dependsOnMode: Bool {
    switch self {
    case .batchNormalization, .dropout, .dropConnect: true
    case .residual(let body, let shortcut, let isNormalized): isNormalized || (body + shortcut).contains { $0.dependsOnMode }
    default: false
    }
  }
}

import Buffers
import Foundation
import Networks

/// Layers in plain fp64, one sample at a time, written without a look at the product's code.
enum ReferenceLayer {
  case convolution(filters: Int, kernel: (height: Int, width: Int), stride: Int, padding: Int)
  case pooling(Int)
  case relu
  case sigmoid
  case tanh
  case gelu
  case linear(Int)
  case linearOfEachPixel(Int, hasBiases: Bool = true)
  case embedding(tokens: Int, width: Int)
  case layerNormalization
  case attention(heads: Int)
  /// The layers' outputs plus their inputs.
  case residual([ReferenceLayer])
}

/// An image in fp64; values lie by rows, pixels and channels.
struct ReferenceImage {
  var (height, width, channels): (Int, Int, Int)
  var values: [Double]

  /// A value; 0 outside of the image.
  func value(_ row: Int, _ column: Int, _ channel: Int) -> Double {
    guard row >= 0, row < height, column >= 0, column < width else { return 0 }
    return values[(row * width + column) * channels + channel]
  }

  /// The channels of each pixel.
  var pixels: [[Double]] {
    (0..<height * width).map { Array(values[$0 * channels..<($0 + 1) * channels]) }
  }
}

/// A network of such layers with a softmax at the end.
struct ReferenceComposition {
  let input: SampleShape
  let layers: [ReferenceLayer]

  /// The outputs of a layer; weights of outputs × (channels × height × width), or × inputs, then biases.
  static func apply(_ layer: ReferenceLayer, to image: ReferenceImage, _ parameters: ArraySlice<Double>) -> ReferenceImage {
    switch layer {
    case .convolution(let filters, let kernel, let stride, let padding):
      var result = ReferenceImage(
        height: (image.height + 2 * padding - kernel.height) / stride + 1,
        width: (image.width + 2 * padding - kernel.width) / stride + 1, channels: filters, values: [])
      let length = image.channels * kernel.height * kernel.width
      for row in 0..<result.height {
        for column in 0..<result.width {
          for filter in 0..<filters {
            var sum = parameters[parameters.startIndex + filters * length + filter]
            var place = parameters.startIndex + filter * length
            for channel in 0..<image.channels {
              for y in 0..<kernel.height {
                for x in 0..<kernel.width {
                  sum += parameters[place] * image.value(row * stride + y - padding, column * stride + x - padding, channel)
                  place += 1
                }
              }
            }
            result.values.append(sum)
          }
        }
      }
      return result
    case .pooling(let window):
      var result = ReferenceImage(
        height: image.height / window, width: image.width / window, channels: image.channels, values: [])
      for row in 0..<result.height {
        for column in 0..<result.width {
          for channel in 0..<image.channels {
            let values = (0..<window * window).map {
              image.value(row * window + $0 / window, column * window + $0 % window, channel)
            }
            result.values.append(values.max()!)
          }
        }
      }
      return result
    case .relu:
      var result = image
      result.values = image.values.map { max(0, $0) }
      return result
    case .sigmoid:
      var result = image
      result.values = image.values.map { 1 / (1 + exp(-$0)) }
      return result
    case .linear(let count):
      let length = image.values.count
      let values = (0..<count).map { output in
        image.values.indices.reduce(parameters[parameters.startIndex + count * length + output]) {
          $0 + parameters[parameters.startIndex + output * length + $1] * image.values[$1]
        }
      }
      return ReferenceImage(height: 1, width: 1, channels: count, values: values)
    case .tanh:
      var result = image
      result.values = image.values.map { Foundation.tanh($0) }
      return result
    case .gelu:
      var result = image
      result.values = image.values.map {
        0.5 * $0 * (1 + Foundation.tanh((2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0)))
      }
      return result
    case .linearOfEachPixel(let count, let hasBiases):
      var result = image
      result.channels = count
      result.values = image.pixels.flatMap { pixel in
        let alone = ReferenceImage(height: 1, width: 1, channels: pixel.count, values: pixel)
        return apply(.linear(count), to: alone, hasBiases ? parameters : parameters + Array(repeating: 0, count: count)[...])
          .values
      }
      return result
    case .embedding(let tokens, let width):
      var result = image
      result.channels = width
      result.values = image.values.enumerated().flatMap { position, token in
        (0..<width).map {
          parameters[parameters.startIndex + Int(token) * width + $0]
            + parameters[parameters.startIndex + (tokens + position) * width + $0]
        }
      }
      return result
    case .layerNormalization:
      var result = image
      result.values = image.pixels.flatMap { pixel in
        let mean = pixel.reduce(0, +) / Double(pixel.count)
        let variance = pixel.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(pixel.count)
        return pixel.enumerated().map { channel, value in
          (value - mean) / (variance + 1e-5).squareRoot() * parameters[parameters.startIndex + channel]
            + parameters[parameters.startIndex + pixel.count + channel]
        }
      }
      return result
    case .attention(let heads):
      let width = image.channels / 3
      let size = width / heads
      var result = ReferenceImage(height: image.height, width: image.width, channels: width, values: [])
      let pixels = image.pixels
      for position in pixels.indices {
        for head in 0..<heads {
          let scores = (0...position).map { other in
            (0..<size).reduce(0) {
              $0 + pixels[position][head * size + $1] * pixels[other][width + head * size + $1]
            } / Double(size).squareRoot()
          }
          let largest = scores.max()!
          let terms = scores.map { exp($0 - largest) }
          let total = terms.reduce(0, +)
          for channel in 0..<size {
            let sum = terms.indices.reduce(0) { $0 + terms[$1] * pixels[$1][2 * width + head * size + channel] }
            result.values.append(sum / total)
          }
        }
      }
      return result
    case .residual(let layers):
      var result = run(layers, on: image, parameters)
      for index in result.values.indices { result.values[index] += image.values[index] }
      return result
    }
  }

  /// The outputs of layers one after another, whose parameters lie last layer first.
  static func run(_ layers: [ReferenceLayer], on input: ReferenceImage, _ parameters: ArraySlice<Double>) -> ReferenceImage {
    var image = input
    var end = parameters.endIndex
    for layer in layers {
      let start = end - parameterCount(layer, image)
      image = apply(layer, to: image, parameters[start..<end])
      end = start
    }
    return image
  }

  /// The number of parameters of a layer that reads `image`.
  static func parameterCount(_ layer: ReferenceLayer, _ image: ReferenceImage) -> Int {
    switch layer {
    case .convolution(let filters, let kernel, _, _): filters * (image.channels * kernel.height * kernel.width + 1)
    case .linear(let count): count * (image.values.count + 1)
    case .linearOfEachPixel(let count, let hasBiases): count * (image.channels + (hasBiases ? 1 : 0))
    case .embedding(let tokens, let width): (tokens + image.values.count) * width
    case .layerNormalization: 2 * image.channels
    case .residual(let layers):
      // Every layer of a body that is not the first may read other shapes: they are those that it makes of zeros.
      layers.reduce((count: 0, image: image)) { state, layer in
        let count = parameterCount(layer, state.image)
        return (state.count + count, apply(layer, to: state.image, Array(repeating: 0, count: count)[...]))
      }.count
    case .pooling, .relu, .sigmoid, .tanh, .gelu, .attention: 0
    }
  }

  /// Σ over a minibatch of the mean over the pixels of −log p(label); `parameters` lie last layer first, weights before biases.
  func loss(of batch: Minibatch, parameters: [Double]) -> Double {
    (0..<batch.count).reduce(0) { sum, row in
      let image = ReferenceImage(height: input.height, width: input.width, channels: input.channels, values: batch.sample(row))
      let pixels = ReferenceComposition.run(layers, on: image, parameters[...]).pixels
      return pixels.enumerated().reduce(sum) { sum, pixel in
        let maximum = pixel.element.max()!
        let logSum = maximum + log(pixel.element.reduce(0) { $0 + exp($1 - maximum) })
        let label = Int(batch.labels[row * pixels.count + pixel.offset])
        return sum + (logSum - pixel.element[label]) / Double(pixels.count)
      }
    }
  }

  /// The gradient of ``loss(of:parameters:)`` by central differences with a step of 1e-5, as in ``ReferenceNetwork``.
  func gradient(of batch: Minibatch, parameters: [Double]) -> [Double] {
    parameters.indices.map { index in
      var moved = parameters
      moved[index] += 1e-5
      let above = loss(of: batch, parameters: moved)
      moved[index] = parameters[index] - 1e-5
      return (above - loss(of: batch, parameters: moved)) / 2e-5
    }
  }
}

extension ReferenceLayer {
  /// The product's layer of the same kind.
  var product: any Layer {
    switch self {
    case .convolution(let filters, let kernel, let stride, let padding):
      Convolution(filters, kernel: kernel, stride: stride, padding: padding)
    case .pooling(let window): MaxPooling(window)
    case .relu: Nonlinearity(.relu)
    case .sigmoid: Nonlinearity(.sigmoid)
    case .tanh: Nonlinearity(.tanh)
    case .gelu: Nonlinearity(.gelu)
    case .linear(let count): Linear(count)
    case .linearOfEachPixel(let count, let hasBiases): Linear(count, forEachPixel: true, hasBiases: hasBiases)
    case .embedding(let tokens, let width): Embedding(tokenCount: tokens, width: width, bound: 0.7)
    case .layerNormalization: LayerNormalization()
    case .attention(let heads): Attention(heads: heads)
    case .residual(let layers): Residual(Sequence(layers.map(\.product)))
    }
  }
}

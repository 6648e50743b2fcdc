import Buffers
import Foundation
import Networks

/// Layers in plain fp64, one sample at a time, written without a look at the product's code.
enum ReferenceLayer {
  case convolution(filters: Int, kernel: (height: Int, width: Int), stride: Int, padding: Int)
  case pooling(Int)
  case relu
  case sigmoid
  case linear(Int)
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
    }
  }

  /// The number of parameters of a layer that reads `image`.
  static func parameterCount(_ layer: ReferenceLayer, _ image: ReferenceImage) -> Int {
    switch layer {
    case .convolution(let filters, let kernel, _, _): filters * (image.channels * kernel.height * kernel.width + 1)
    case .linear(let count): count * (image.values.count + 1)
    case .pooling, .relu, .sigmoid: 0
    }
  }

  /// Σ −log p(label) over a minibatch; `parameters` lie last layer first, weights before biases.
  func loss(of batch: Minibatch, parameters: [Double]) -> Double {
    (0..<batch.count).reduce(0) { sum, row in
      var image = ReferenceImage(height: input.height, width: input.width, channels: input.channels, values: batch.sample(row))
      var end = parameters.count
      for layer in layers {
        let start = end - ReferenceComposition.parameterCount(layer, image)
        image = ReferenceComposition.apply(layer, to: image, parameters[start..<end])
        end = start
      }
      let maximum = image.values.max()!
      let logSum = maximum + log(image.values.reduce(0) { $0 + exp($1 - maximum) })
      return sum + logSum - image.values[Int(batch.labels[row])]
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
    case .linear(let count): Linear(count)
    }
  }
}

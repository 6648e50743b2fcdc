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
  /// Weights only.
  case convolutionAlone(filters: Int, kernel: (height: Int, width: Int), stride: Int, padding: Int)
  case linearAlone(Int)
  /// By the whole minibatch.
  case batchNormalization(relu: Bool)
  /// Ends with a normalization that takes the sum in and has a ReLU; or with the plain sum.
  case residual([ReferenceLayer], shortcut: [ReferenceLayer] = [], isNormalized: Bool)
  /// Gates of sigmoid units beside a linear layer with a sigmoid.
  case highway(Int, gateBias: Float)
  case averagePooling
  case tanh
  case gelu
  case linearOfEachPixel(Int, hasBiases: Bool = true)
  case embedding(tokens: Int, width: Int)
  case layerNormalization
  case attention(heads: Int)
  /// The mask of this number in a network.
  case dropout(Double, number: Int)
  case dropConnect(Int, Double, number: Int)
}

/// A network of such layers with a softmax at the end.
struct ReferenceComposition {
  let input: SampleShape
  let layers: [ReferenceLayer]
  /// Where the samples stand in a run.
  var origin: MinibatchOrigin?

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
    case .convolutionAlone(let filters, let kernel, let stride, let padding):
      let layer = ReferenceLayer.convolution(filters: filters, kernel: kernel, stride: stride, padding: padding)
      return apply(layer, to: image, ArraySlice(parameters + Array(repeating: 0, count: filters)))
    case .linearAlone(let count):
      return apply(.linear(count), to: image, ArraySlice(parameters + Array(repeating: 0, count: count)))
    case .averagePooling:
      let pixels = image.height * image.width
      let values = (0..<image.channels).map { channel in
        (0..<pixels).reduce(0) { $0 + image.values[$1 * image.channels + channel] } / Double(pixels)
      }
      return ReferenceImage(height: 1, width: 1, channels: image.channels, values: values)
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
    case .batchNormalization, .residual, .highway, .dropout, .dropConnect: fatalError("no layer of one sample")
    }
  }

  /// The outputs of layers for a whole minibatch; `end` is where their parameters end, and becomes where they begin.
  func run(
    _ layers: [ReferenceLayer], on images: [ReferenceImage], _ parameters: [Double], _ end: inout Int
  ) -> [ReferenceImage] {
    layers.reduce(images) { run($1, on: $0, parameters, &end) }
  }

  private func run(
    _ layer: ReferenceLayer, on images: [ReferenceImage], _ parameters: [Double], _ end: inout Int
  ) -> [ReferenceImage] {
    var result = images
    switch layer {
    case .batchNormalization(let relu):
      let channels = images[0].channels
      end -= 2 * channels
      for channel in 0..<channels {
        let values = images.flatMap { image in
          stride(from: channel, to: image.values.count, by: channels).map { image.values[$0] }
        }
        let mean = values.reduce(0, +) / Double(values.count)
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
        for sample in images.indices {
          for place in stride(from: channel, to: images[sample].values.count, by: channels) {
            let normal = (images[sample].values[place] - mean) / (variance + 1e-5).squareRoot()
            let value = parameters[end + channel] * normal + parameters[end + channels + channel]
            result[sample].values[place] = relu ? max(0, value) : value
          }
        }
      }
    case .residual(let body, let shortcut, let isNormalized):
      let past = run(shortcut, on: images, parameters, &end)
      result = run(body, on: images, parameters, &end)
      if isNormalized { result = run(.batchNormalization(relu: false), on: result, parameters, &end) }
      for sample in result.indices {
        for place in result[sample].values.indices {
          let value = result[sample].values[place] + past[sample].values[place]
          result[sample].values[place] = isNormalized ? max(0, value) : value
        }
      }
    case .highway(let width, _):
      let gates = run([.linear(width), .sigmoid], on: images, parameters, &end)
      let changed = run([.linear(width), .sigmoid], on: images, parameters, &end)
      for sample in images.indices {
        for place in 0..<width {
          let gate = gates[sample].values[place]
          result[sample].values[place] =
            gate * changed[sample].values[place] + (1 - gate) * images[sample].values[place]
        }
      }
    case .dropout(let rate, let number):
      guard let origin else { return images }
      for sample in images.indices {
        let random = origin.random(.dropout, row: sample)
        for place in images[sample].values.indices {
          result[sample].values[place] *= ReferenceComposition.factor(place, rate, number, random)
        }
      }
    case .dropConnect(let count, let rate, let number):
      let length = images[0].values.count
      end -= count * (length + 1)
      var own = Array(parameters[end..<end + count * (length + 1)])
      if let random = origin?.random(.dropConnect) {
        for place in 0..<count * length { own[place] *= ReferenceComposition.factor(place, rate, number, random) }
      }
      return images.map { ReferenceComposition.apply(.linear(count), to: $0, ArraySlice(own)) }
    default:
      end -= ReferenceComposition.parameterCount(layer, images[0])
      let own = parameters[end..<end + ReferenceComposition.parameterCount(layer, images[0])]
      return images.map { ReferenceComposition.apply(layer, to: $0, own) }
    }
    return result
  }

  /// What a mask multiplies a value by: its draw is one half of a word, by the formula in `RandomMask`.
  static func factor(_ place: Int, _ rate: Double, _ number: Int, _ random: Philox) -> Double {
    let (block, draw) = (place / 128, place % 128)
    let word = random.words(quad: 16 * block + draw % 16, tensor: number)[draw / 16 % 4]
    let half = draw < 64 ? word & 0xFFFF : word >> 16
    return Double(half) < (1 - rate) * 65536 ? 1 / (1 - rate) : 0
  }

  /// The number of parameters of a layer that reads `image`.
  static func parameterCount(_ layer: ReferenceLayer, _ image: ReferenceImage) -> Int {
    switch layer {
    case .convolution(let filters, let kernel, _, _): filters * (image.channels * kernel.height * kernel.width + 1)
    case .linear(let count): count * (image.values.count + 1)
    case .convolutionAlone(let filters, let kernel, _, _): filters * image.channels * kernel.height * kernel.width
    case .linearAlone(let count): count * image.values.count
    case .linearOfEachPixel(let count, let hasBiases): count * (image.channels + (hasBiases ? 1 : 0))
    case .embedding(let tokens, let width): (tokens + image.values.count) * width
    case .layerNormalization: 2 * image.channels
    case .pooling, .relu, .sigmoid, .averagePooling, .tanh, .gelu, .attention: 0
    case .batchNormalization, .residual, .highway, .dropout, .dropConnect: fatalError("no layer of one sample")
    }
  }

  /// Σ over a minibatch of the mean over the pixels of −log p(label); `parameters` lie last layer first, weights before biases.
  func loss(of batch: Minibatch, parameters: [Double]) -> Double {
    var end = parameters.count
    let images = (0..<batch.count).map {
      ReferenceImage(height: input.height, width: input.width, channels: input.channels, values: batch.sample($0))
    }
    return run(layers, on: images, parameters, &end).enumerated().reduce(0) { sum, sample in
      let (row, pixels) = (sample.offset, sample.element.pixels)
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

// Maxima over windows of size × size pixels that lie side by side; rows and columns that fill no window are left out.

/// outputs = the maxima of each channel over each window; NaN if a value of the window is.
func poolMaxima(
  _ inputs: UnsafePointer<Float>, sampleCount: Int, height: Int, width: Int, channels: Int, window: Int,
  into outputs: UnsafeMutablePointer<Float>
) {
  var output = outputs
  eachWindow(sampleCount: sampleCount, height: height, width: width, channels: channels, window: window) { corner in
    eachBlock(of: channels) { first, count in
      let start = inputs + corner + first
      var maximum = lanes(at: start, count)
      for row in 0..<window {
        for column in 0..<window {
          let value = lanes(at: start + (row * width + column) * channels, count)
          // NaN is neither above nor below another value, and differs from itself.
          maximum.replace(with: value, where: (value .> maximum) .| (value .!= value))
        }
      }
      store(maximum, at: output + first, count)
    }
    output += channels
  }
}

/// Gives each output's gradient to the first input of its window that is the maximum, and 0 to the others.
///
/// - Parameters:
///   - inputs: What `poolMaxima` read.
///   - outputs: What it wrote.
///   - outputGradient: Of the shape of the outputs.
///   - inputGradient: Set, of the shape of the inputs.
func distributeToMaxima(
  _ inputs: UnsafePointer<Float>, _ outputs: UnsafePointer<Float>, _ outputGradient: UnsafePointer<Float>, sampleCount: Int,
  height: Int, width: Int, channels: Int, window: Int, into inputGradient: UnsafeMutablePointer<Float>
) {
  if height % window != 0 || width % window != 0 {
    inputGradient.update(repeating: 0, count: sampleCount * height * width * channels)
  }
  var place = 0
  eachWindow(sampleCount: sampleCount, height: height, width: width, channels: channels, window: window) { corner in
    eachBlock(of: channels) { first, count in
      let maximum = lanes(at: outputs + place + first, count)
      let gradient = lanes(at: outputGradient + place + first, count)
      var isOpen = SIMDMask<Lanes.MaskStorage>(repeating: true)
      for row in 0..<window {
        for column in 0..<window {
          let offset = corner + first + (row * width + column) * channels
          // If the maximum is NaN, the first input takes its gradient, so that it does not get lost.
          let isTaken = isOpen .& .!(lanes(at: inputs + offset, count) .< maximum)
          store(Lanes.zero.replacing(with: gradient, where: isTaken), at: inputGradient + offset, count)
          isOpen = isOpen .& .!isTaken
        }
      }
    }
    place += channels
  }
}

/// Calls `body` with the index of each window's first value, in the order of the outputs.
@inline(__always)
private func eachWindow(
  sampleCount: Int, height: Int, width: Int, channels: Int, window: Int, _ body: (_ corner: Int) -> Void
) {
  for sample in 0..<sampleCount {
    for row in 0..<height / window {
      for column in 0..<width / window {
        body(((sample * height + row * window) * width + column * window) * channels)
      }
    }
  }
}

/// Calls `body` for blocks of up to sixteen channels.
///
/// The last block of more than sixteen channels begins early enough to be whole: some channels are computed twice, with the same
/// result.
@inline(__always)
private func eachBlock(of channels: Int, _ body: (_ first: Int, _ count: Int) -> Void) {
  guard channels > 16 else { return body(0, channels) }
  var first = 0
  while first < channels {
    body(min(first, channels - 16), 16)
    first += 16
  }
}

@inline(__always)
private func lanes(at address: UnsafePointer<Float>, _ count: Int) -> Lanes {
  count == 16 ? Lanes(at: address) : Lanes(at: address, count: count, padding: 0)
}

@inline(__always)
private func store(_ values: Lanes, at address: UnsafeMutablePointer<Float>, _ count: Int) {
  if count == 16 { values.store(at: address) } else { values.store(at: address, count: count) }
}

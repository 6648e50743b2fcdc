// Sums gradients over the ranks at one bit per value, and shows that nothing is lost: what a step omits, a later one delivers.

import Buffers
import Codecs
import Collectives
import Foundation
import MPI
import Transport

withMPI { world in
  // 64 rows of 1024 inputs, and the biases of 64 outputs: every row is a group with its own two means.
  let layout = TensorLayout([("weights", [64, 1024]), ("biases", [64])])
  let gradient = try SharedGradient(count: layout.count, hosts: HostMap(world))
  let exchange = try CodedAllReduce(codecs.make("one-bit"), layout: layout, gradient: gradient)

  let steps = 400
  var brought = [Float](repeating: 0, count: layout.count)
  for step in 0..<steps {
    // The same gradient in every step, so that the sum of what arrives is known.
    for index in 0..<layout.count { gradient.values[index] = contribution(of: world.rank, at: index) }
    try exchange.run(step: step, into: .inPlace)
    for index in 0..<layout.count { brought[index] += gradient.values[index] }
  }

  // What every step should have delivered, and the largest deviation of the mean from it.
  var largestError: Float = 0
  for index in 0..<layout.count {
    let expected = (0..<world.count).reduce(Float(0)) { $0 + contribution(of: $1, at: index) }
    largestError = max(largestError, abs(brought[index] / Float(steps) - expected))
  }
  guard largestError < 0.2 * Float(world.count) else { throw Lost(description: "the mean is off by \(largestError)") }
  if world.rank == 0 {
    let bits = 8 * Double(exchange.traffic.bytesSent) / Double(steps * layout.count)
    print(
      "\(world.count) ranks, \(steps) steps: the mean of the sums is within \(largestError) of the exact sum, "
        + "\(String(format: "%.2f", bits)) bits sent per value")
  }
}

/// Values from -1 to 1, different on every rank.
func contribution(of rank: Int, at index: Int) -> Float { Float((index * 37 + rank * 101) % 201 - 100) / 100 }

struct Lost: Error, CustomStringConvertible {
  let description: String
}

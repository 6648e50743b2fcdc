// A sum over all ranks makes progress while each rank computes.
import MPI

withMPI { world in
  let gradient = (0..<100_000).map { Float($0 % 7 + world.rank) }
  var summing = try world.startAllReduce(gradient, .sum)

  var rounds = 0
  var x = 0.5
  // MPI moves data when it is called: the test lets it make progress.
  repeat {
    for _ in 0..<1_000 { x = 3.9 * x * (1 - x) }
    rounds += 1
  } while try !summing.isDone()

  let sum = try summing.wait()
  let ranks = world.count
  for (index, value) in sum.enumerated() {
    precondition(value == Float(index % 7 * ranks + ranks * (ranks - 1) / 2), "element \(index) is \(value)")
  }
  precondition(x >= 0 && x <= 1)
  try world.barrier()
  if world.rank == 0 { print("overlap: \(sum.count) sums over \(ranks) ranks beside computing") }
}

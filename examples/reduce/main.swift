// Pi as an integral, cut into slices that are assigned to the ranks in turn.
import MPI

withMPI { world in
  let slices = 1_000_000
  let width = 1.0 / Double(slices)
  var area = 0.0
  for slice in stride(from: world.rank, to: slices, by: world.count) {
    let x = (Double(slice) + 0.5) * width
    area += 4 / (1 + x * x) * width
  }
  let pi = try world.allReduce(area, .sum)
  precondition(abs(pi - Double.pi) < 1e-9, "the sum is \(pi)")
  if world.rank == 0 { print("reduce: pi is about \(pi)") }
}

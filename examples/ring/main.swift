// A token goes around a ring; each rank adds its number.
import MPI

withMPI { world in
  let next = (world.rank + 1) % world.count
  let previous = (world.rank + world.count - 1) % world.count
  var token = [world.rank]
  // All ranks send and receive at once; after `count - 1` steps each has the numbers of all.
  for _ in 1..<max(world.count, 2) where world.count > 1 {
    token = try world.exchange(token, to: next, from: previous).values + [world.rank]
  }
  let expected = (0..<world.count).map { (world.rank + 1 + $0) % world.count }
  precondition(token == expected, "the token came back as \(token)")
  try world.barrier()
  if world.rank == 0 { print("ring: the token saw ranks \(token)") }
}

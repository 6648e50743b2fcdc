// Each rank sends the name of its host; rank 0 checks that all did, and prints them.
import MPI

withMPI { world in
  let hosts = try world.gather(varying: Array(world.processorName.utf8))
  guard let hosts else { return }
  precondition(hosts.count == world.count)
  for (rank, host) in hosts.enumerated() {
    print("hello from rank \(rank) of \(world.count) on \(String(decoding: host, as: UTF8.self))")
  }
  print("hello: \(world.count) ranks, \(libraryVersion)")
}

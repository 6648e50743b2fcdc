// Which rank has the largest value, and where: a reduction with a user-defined type and operation.
import MPI

struct Peak: Datatype, Equatable {
  var value: Float
  var rank: Int32
  var index: Int32
}

withMPI { world in
  let values = (0..<1_000).map { Float(($0 * 37 + world.rank * 11) % 1_009) }
  let index = values.indices.max { values[$0] < values[$1] }!
  let mine = Peak(value: values[index], rank: Int32(world.rank), index: Int32(index))

  let higher = Operation<Peak>.combining { left, right in
    // The lower rank wins a tie; the operation relies on the order of its arguments.
    right.value > left.value ? right : left
  }
  let peak = try world.allReduce(mine, higher)

  let all = try world.allGather(mine)
  let expected = all.reduce(all[0]) { $1.value > $0.value ? $1 : $0 }
  precondition(peak == expected, "the peak is \(peak), expected \(expected)")
  if world.rank == 0 { print("user-operation: the peak is \(peak.value) at \(peak.index) of rank \(peak.rank)") }
}

internal import Buffers
internal import Collectives
internal import PointToPoint
internal import Transport

extension Asynchronous {
  /// The root mean square of the distances of all workers' models to the centre; nil if they have none.
  ///
  /// Collective.
  func distanceToCentre() throws -> Double? {
    guard case .elastic = settings.method else { return nil }
    var own = 0.0
    for (_, values) in server.workerValues {
      for i in 0..<values.count {
        let difference = Double(values.baseAddress[i]) - Double(parts.parameters.baseAddress[i])
        own += difference * difference
      }
    }
    let all = try parts.records.gather([own.bitPattern], activity: "the distance of workers").map { Double(bitPattern: $0[0]) }
    return (all.reduce(0, +) / Double(workerCount)).squareRoot()
  }
}

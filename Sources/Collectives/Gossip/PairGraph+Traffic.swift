internal import Transport

extension PairGraph {
  /// What a rank sends and receives in a step of as many minibatches as workers, in the mean over whom workers ask; worker w is on rank
  /// w mod ranks.
  func traffic(of rank: Int, among rankCount: Int, valueCount: Int) -> Traffic {
    let (answer, question) = (Double(4 * valueCount), Double(4 * valueCount + PairMessages.headerByteCount))
    var (sent, received) = (0.0, 0.0)
    for worker in (0..<count).filter(isActive) {
      let share = 1 / Double(graph.neighbours[worker].count)
      for other in graph.neighbours[worker] where worker % rankCount != other % rankCount {
        if worker % rankCount == rank { (sent, received) = (sent + share * question, received + share * answer) }
        if other % rankCount == rank { (sent, received) = (sent + share * answer, received + share * question) }
      }
    }
    var traffic = Traffic()
    (traffic.networkBytesSent, traffic.networkBytesReceived) = (Int(sent.rounded()), Int(received.rounded()))
    return traffic
  }
}

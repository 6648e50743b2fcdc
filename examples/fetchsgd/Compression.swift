import Laboratory

/// How many times fewer bytes a run sent than floats would have, counted where they were handed over.
struct Compression {
  /// Bytes to the owners of shards: what a client uploads.
  let upload: Double
  /// Bytes from the owners: what a client downloads.
  let download: Double
  /// Both together.
  let total: Double

  /// The compression of `report` against a run of floats of the same length.
  init(of report: Report, against floats: Report) throws {
    let (own, plain) = (try Compression.bytes(report), try Compression.bytes(floats))
    upload = plain.up / own.up
    download = plain.down / own.down
    total = (plain.up + plain.down) / (own.up + own.down)
  }

  /// The bytes that all ranks sent to owners, and that owners sent back.
  private static func bytes(_ report: Report) throws -> (up: Double, down: Double) {
    guard let wire = report.end?["wire"] as? [String: Any], let sent = wire["bytesSent"] as? [Int],
      let returned = wire["bytesReturned"] as? [Int]
    else { throw Failure("the run '\(report.job.name)' does not tell what it sent") }
    let (all, down) = (sent.reduce(0, +), returned.reduce(0, +))
    guard down > 0, all > down else { throw Failure("the run '\(report.job.name)' sent nothing; it takes two ranks at least") }
    return (Double(all - down), Double(down))
  }
}

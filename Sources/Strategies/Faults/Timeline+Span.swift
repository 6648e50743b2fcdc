package import Reporting

extension Timeline? {
  /// Runs `body` and records it in the timeline, if there is one; tests inject faults here.
  package func span<Result>(_ activity: Timeline.Activity, _ number: Int? = nil, _ body: () throws -> Result) throws -> Result {
    try FaultInjector.reach(activity, number)
    guard let self else { return try body() }
    self.begin(activity, number)
    defer { self.end() }
    return try body()
  }
}

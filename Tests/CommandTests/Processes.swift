import Foundation

/// The processes whose command lines mention `text` and that `parent` started: the ranks of a job, lowest first.
func processes(mentioning text: String, childrenOf parent: Int32) -> [Int32] {
  let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
  return all.compactMap { Int32($0) }.sorted().filter { process in
    guard let line = try? String(contentsOfFile: "/proc/\(process)/cmdline", encoding: .utf8),
      let status = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
      let fields = status.split(separator: ")").last?.split(separator: " ")
    else { return false }
    return line.contains(text) && fields.count > 1 && Int32(fields[1]) == parent
  }
}

/// All processes whose command lines mention `text`.
func processes(mentioning text: String) -> [Int32] {
  let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
  return all.compactMap { Int32($0) }.filter { process in
    (try? String(contentsOfFile: "/proc/\(process)/cmdline", encoding: .utf8))?.contains(text) ?? false
  }
}

/// Waits until `isTrue`, for a minute at most; looks every two milliseconds.
func wait(until isTrue: () -> Bool) {
  let deadline = ContinuousClock.now + .seconds(60)
  while !isTrue() && ContinuousClock.now < deadline { usleep(2000) }
}

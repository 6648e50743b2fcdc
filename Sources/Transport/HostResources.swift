internal import Glibc

/// The cores and memory that this process may use on its host, by the system and by its control groups.
package enum HostResources {
  /// The number of cores of the host.
  package static var coreCount: Int { max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN))) }

  /// The number of cores that this process may use: those it is bound to, limited by the CPU time of its control groups.
  package static var usableCoreCount: Int {
    // A mask of hexadecimal digits, which may have bits for cores that the host does not have.
    let status = textOfSystemFile("/proc/self/status") ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed:") }
    let bound = line?.dropFirst("Cpus_allowed:".count).reduce(0) { $0 + ($1.hexDigitValue ?? 0).nonzeroBitCount } ?? coreCount
    return max(1, min(bound, coreCount, ControlGroup.own.coreCount ?? .max))
  }

  /// The number of cores of the host whose time the control groups of this process grant, whatever cores it is bound to.
  package static var grantedCoreCount: Int { min(coreCount, ControlGroup.own.coreCount ?? .max) }

  /// The bytes that can still be allocated without taking them from others; nil if the system does not report them.
  package static var availableMemory: Int? {
    guard let text = textOfSystemFile("/proc/meminfo") else { return nil }
    func bytes(_ name: String) -> Int? {
      let line = text.split(separator: "\n").first { $0.hasPrefix(name + ":") }
      return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * 1024 }
    }
    guard let free = bytes("MemAvailable") else { return nil }
    return min(free + (bytes("SwapFree") ?? 0), ControlGroup.own.memoryLeft ?? .max)
  }
}

/// A Linux control group (version 2) and its ancestors, each of which may set limits.
package struct ControlGroup {
  /// Its directory and its ancestors', innermost first.
  private let directories: [String]

  /// This process's control group.
  static var own: ControlGroup {
    let text = textOfSystemFile("/proc/self/cgroup") ?? ""
    let path = text.split(separator: "\n").first { $0.hasPrefix("0::") }.map { $0.dropFirst(3) } ?? "/"
    return ControlGroup(root: "/sys/fs/cgroup", path: String(path))
  }

  /// The group `path` below `root`.
  package init(root: String, path: String) {
    let names = path.split(separator: "/").map(String.init)
    directories = (0...names.count).reversed().map { ([root] + names[..<$0]).joined(separator: "/") }
  }

  /// The number of cores whose time the groups grant, rounded up; nil if none limits it.
  package var coreCount: Int? {
    directories.compactMap { directory -> Int? in
      let fields = words(of: "\(directory)/cpu.max")
      guard fields.count == 2, let quota = Double(fields[0]), let period = Double(fields[1]), period > 0 else { return nil }
      return max(1, Int((quota / period).rounded(.up)))
    }.min()
  }

  /// The bytes that the groups leave, with droppable file pages counted as free; nil if none limits them.
  package var memoryLeft: Int? {
    directories.compactMap { directory -> Int? in
      guard let limit = words(of: "\(directory)/memory.max").first.flatMap({ Int($0) }),
        let used = words(of: "\(directory)/memory.current").first.flatMap({ Int($0) })
      else { return nil }
      let statistics = words(of: "\(directory)/memory.stat")
      let files = statistics.firstIndex(of: "inactive_file").flatMap { Int(statistics[$0 + 1]) } ?? 0
      return max(0, limit - used + files)
    }.min()
  }

  private func words(of file: String) -> [String] {
    (textOfSystemFile(file) ?? "").split { $0 == " " || $0 == "\n" }.map(String.init)
  }
}

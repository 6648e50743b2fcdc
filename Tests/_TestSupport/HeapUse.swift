#if canImport(Glibc)
  import Glibc
#endif

/// The bytes that this process has allocated and not freed, as the allocator counts them (`malloc_info`).
public func allocatedByteCount() -> Int {
  typealias Inform = @convention(c) (CInt, UnsafeMutableRawPointer) -> CInt
  guard let symbol = dlsym(nil, "malloc_info") else { fatalError("the allocator tells nothing") }
  var (text, length): (UnsafeMutablePointer<CChar>?, Int) = (nil, 0)
  guard let file = open_memstream(&text, &length) else { fatalError("no memory for a text") }
  _ = unsafeBitCast(symbol, to: Inform.self)(0, UnsafeMutableRawPointer(file))
  fclose(file)
  defer { free(text) }
  // The last lines are those of all arenas together.
  let lines = String(cString: text!).split(separator: "\n")
  func size(_ start: String) -> Int {
    guard let line = lines.last(where: { $0.hasPrefix(start) }) else { fatalError("no \(start) in \(lines)") }
    return Int(line.split(separator: "size=\"")[1].prefix { $0.isNumber })!
  }
  return size("<system type=\"current\"") + size("<total type=\"mmap\"") - size("<total type=\"fast\"")
    - size("<total type=\"rest\"")
}

internal import Glibc

/// The directory operations that a checkpoint needs; every call is checked.
package enum Directory {
  /// Creates a directory and its parents; one that exists already is fine.
  package static func make(_ path: String) throws(FileError) {
    if mkdir(path, 0o777) == 0 { return }
    switch errno {
    case EEXIST where isDirectory(path): return
    case EEXIST:
      // A link to a directory that does not exist yet.
      guard case .path(let target, nil)? = try? FileName.target(of: path, standard: -1, to: "make the directory"),
        let name = String(validating: target.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
      else { throw FileError(operation: "make the directory", path: path, code: ENOTDIR) }
      try make(name)
    case ENOENT:
      guard let parent = parent(of: path) else { throw FileError(operation: "make the directory", path: path, code: ENOENT) }
      try make(parent)
      guard mkdir(path, 0o777) == 0 || errno == EEXIST else { throw .last("make the directory", path) }
    default: throw .last("make the directory", path)
    }
  }

  /// Whether there is a directory at `path`.
  package static func isDirectory(_ path: String) -> Bool {
    var information = stat()
    return stat(path, &information) == 0 && information.st_mode & S_IFMT == S_IFDIR
  }

  /// Whether there is anything at `path`.
  package static func exists(_ path: String) -> Bool {
    var information = stat()
    return lstat(path, &information) == 0
  }

  /// Whether `path` is a symbolic link.
  package static func isLink(_ path: String) -> Bool {
    var information = stat()
    return lstat(path, &information) == 0 && information.st_mode & S_IFMT == S_IFLNK
  }

  /// Whether `path` is a directory with anything in it.
  package static func holdsAnything(_ path: String) -> Bool { isDirectory(path) && (try? names(in: path)) != [] }

  /// The names in a directory, in the order of their bytes.
  package static func names(in path: String) throws(FileError) -> [String] {
    guard let stream = opendir(path) else { throw .last("read the directory", path) }
    defer { _ = closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// Waits until the directory's entries are on disk.
  package static func synchronize(_ path: String) throws(FileError) {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .last("read the directory", path) }
    defer { _ = close(descriptor) }
    // Some network file systems do not support this call on directories, and do not need it.
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw .last("write the directory", path) }
  }

  /// Renames `path` to `other`.
  package static func rename(_ path: String, to other: String) throws(FileError) {
    guard Glibc.rename(path, other) == 0 else { throw .last("rename", path) }
  }

  /// Removes a file or an empty directory; a path that no longer exists is fine.
  package static func remove(_ path: String) throws(FileError) {
    if unlink(path) == 0 || errno == ENOENT { return }
    guard errno == EISDIR || errno == EPERM else { throw .last("remove", path) }
    guard rmdir(path) == 0 || errno == ENOENT else { throw .last("remove", path) }
  }

  /// The directory that holds `path`: `a` for `a/b`, `.` for `b`; nil for the root.
  package static func parent(of path: String) -> String? {
    var trimmed = Substring(path)
    while trimmed.count > 1 && trimmed.last == "/" { trimmed.removeLast() }
    guard trimmed != "/" && !trimmed.isEmpty else { return nil }
    guard let slash = trimmed.lastIndex(of: "/") else { return "." }
    return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
  }

  /// The absolute path of `path` without links, where it is or will be.
  ///
  /// Names that do not exist yet stay as they are; nil if no part of the path can be resolved.
  package static func resolved(_ path: String) -> String? {
    if let real = realpath(path, nil) {
      defer { free(real) }
      return String(cString: real)
    }
    guard errno == ENOENT, let parent = parent(of: path), parent != path, let above = resolved(parent) else { return nil }
    var trimmed = Substring(path)
    while trimmed.count > 1 && trimmed.last == "/" { trimmed.removeLast() }
    return "\(above == "/" ? "" : above)/\(trimmed.split(separator: "/").last ?? "")"
  }
}

internal import Synchronization

/// What the caller holds, by number: handles are never addresses, so that one that was released is noticed.
enum Handles {
  private struct Table: @unchecked Sendable {
    var objects: [UInt: AnyObject] = [:]
    var next: UInt = 16
  }

  private static let table = Mutex(Table())

  /// A handle for `object`, which lives until it is taken back.
  static func add(_ object: AnyObject) -> OpaquePointer {
    table.withLock { table in
      // Multiples of 16, as addresses are.
      let number = table.next
      table.next += 16
      table.objects[number] = object
      return OpaquePointer(bitPattern: number)!
    }
  }

  /// The object of a handle; throws if there is none of this type.
  static func object<Object: AnyObject>(_ handle: OpaquePointer?, _ type: Object.Type, _ what: String) throws -> Object {
    let number = UInt(bitPattern: handle)
    guard let object = table.withLock({ $0.objects[number] }) as? Object else {
      throw Failure.usage(handle == nil ? "no \(what) was given" : "this is no \(what): it was released, or never made")
    }
    return object
  }

  /// Takes a handle back; throws if it is none of this type.
  static func remove<Object: AnyObject>(_ handle: OpaquePointer?, _ type: Object.Type, _ what: String) throws -> Object {
    let object = try object(handle, type, what)
    table.withLock { _ = $0.objects.removeValue(forKey: UInt(bitPattern: handle)) }
    return object
  }

  /// All objects of this type.
  static func all<Object: AnyObject>(_ type: Object.Type) -> [Object] {
    table.withLock { $0.objects.sorted { $0.key < $1.key }.compactMap { $0.value as? Object } }
  }

  /// Takes all handles back.
  static func removeAll() {
    let objects = table.withLock { table in
      defer { table.objects = [:] }
      return table.objects
    }
    _ = objects
  }
}

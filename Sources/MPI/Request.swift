internal import CMPI

/// An operation in progress, and the memory it reads or writes.
///
/// It must be waited for exactly once: waiting twice does not compile.
///
/// A request that is dropped, for example when an error leaves its scope, is abandoned: a receive is cancelled; for other
/// operations, the memory is kept until they are done or the process ends, so that the error reaches its handler.
/// Memory that the caller lent by a pointer cannot be kept; such an operation gets 0.25 s to finish, and after that the memory
/// must stay as it is until the end of the job. A program that ends normally although it dropped requests reports this in one
/// sentence.
public struct Request<Value>: ~Copyable {
  private var pending: PendingOperation<Value>?

  init(_ pending: PendingOperation<Value>) { self.pending = pending }

  /// Blocks until the operation is done and returns what it produced.
  ///
  /// The corresponding C function is `MPI_Wait`.
  public consuming func wait() throws -> Value {
    let operation = pending.take()!
    do {
      try operation.waitUntilDone()
    } catch {
      operation.giveUp()
      throw error
    }
    return try operation.finish(operation.envelope)
  }

  /// Whether the operation is done, so that ``wait()`` will not block; lets MPI make progress on it.
  ///
  /// The corresponding C function is `MPI_Test`.
  public mutating func isDone() throws -> Bool { try pending!.test() }

  /// Cancels a receive that no message has matched; an operation that cannot be cancelled, such as a collective, is waited for.
  ///
  /// The corresponding C function is `MPI_Cancel`.
  ///
  /// - Returns: whether it was cancelled.
  @discardableResult
  public consuming func cancel() throws -> Bool {
    let operation = pending.take()!
    do {
      return try operation.cancel()
    } catch {
      operation.giveUp()
      throw error
    }
  }

  deinit {
    guard let pending, !pending.isDone else { return }
    AbandonedRequests.countDropped()
    pending.giveUp()
  }
}

/// Requests, and how to turn their result into a value.
final class PendingOperation<Value>: OpenRequests, @unchecked Sendable {
  let finish: (Envelope) throws -> Value

  init(
    _ kind: Kind, on communicator: Communicator?, memory: Memory = .lent, keepingAlive keptAlive: [AnyObject] = [],
    finish: @escaping (Envelope) throws -> Value
  ) {
    self.finish = finish
    super.init(kind, on: communicator, memory: memory, keepingAlive: keptAlive)
  }
}

extension Request {
  /// A request that is already done.
  static func done(_ value: Value) -> Request { Request(PendingOperation(.collective, on: nil) { _ in value }) }
}

/// Memory for `count` values that lives as long as an operation; uninitialised.
func allocateValues<T: Datatype>(_ type: T.Type, count: Int) -> UnsafeMutableBufferPointer<T> {
  let bytes = UnsafeMutableRawBufferPointer.allocate(
    byteCount: max(count, 1) * MemoryLayout<T>.stride, alignment: max(64, MemoryLayout<T>.alignment))
  return UnsafeMutableBufferPointer(start: bytes.baseAddress!.assumingMemoryBound(to: T.self), count: count)
}

/// A copy of `values` that lives as long as an operation.
func allocateCopy<T: Datatype>(of values: [T]) -> UnsafeMutableBufferPointer<T> {
  let buffer = allocateValues(T.self, count: values.count)
  values.withUnsafeBufferPointer { copyValues($0, to: buffer) }
  return buffer
}

internal import Buffers
internal import CMorse
internal import MPI
internal import Transport

#if canImport(Glibc)
  internal import Glibc
#endif

/// What is wrong with a call, in one sentence, and the status to return.
struct Failure: Error {
  let status: Int32
  let sentence: String

  /// A mistake of the caller.
  static func usage(_ sentence: String) -> Failure { Failure(status: Int32(MORSE_ERROR_USAGE), sentence: sentence) }

  init(status: Int32, sentence: String) { (self.status, self.sentence) = (status, sentence) }

  /// The status and the sentence of any error.
  init(_ error: any Error) {
    switch error {
    case let failure as Failure: self = failure
    case let error as any ExitStatusProviding: self.init(status: error.exitStatus, sentence: "\(error)")
    case is SpecificationError: self = .usage("\(error)")
    default: self.init(status: Int32(MORSE_ERROR_INTERNAL), sentence: "\(error)")
    }
  }
}

/// Throws `sentence` as a mistake of the caller unless `condition` holds.
func demand(_ condition: Bool, _ sentence: @autoclosure () -> String) throws {
  if !condition { throw Failure.usage(sentence()) }
}

/// The status of `body`; an error's sentence becomes that of this thread.
func status(_ body: () throws -> Void) -> Int32 {
  do {
    try body()
    return Int32(MORSE_OK)
  } catch {
    let failure = Failure(error)
    LastError.set(failure.sentence)
    return failure.status
  }
}

/// What `body` finds; nil if it throws, whose sentence becomes that of this thread.
func found<Value>(_ body: () throws -> Value) -> Value? {
  var value: Value?
  _ = status { value = try body() }
  return value
}

/// The last sentence of each thread.
enum LastError {
  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    pthread_key_create(&key) { free($0) }
    return key
  }()

  static func set(_ sentence: String) {
    let old = pthread_getspecific(key)
    pthread_setspecific(key, strdup(sentence))
    free(old)
  }

  /// The sentence; nil if no call of this thread has failed.
  static var sentence: UnsafePointer<CChar>? {
    pthread_getspecific(key).map { UnsafePointer($0.assumingMemoryBound(to: CChar.self)) }
  }
}

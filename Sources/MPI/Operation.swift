internal import CMPI
internal import Synchronization

/// How a reduction combines two values of `Element`: `sum`, ``max`` and others, or a custom closure.
///
/// Types that MPI does not know, such as `Float16` or a custom number type, are combined by their own operators, in rank order.
public struct Operation<Element: Datatype>: Sendable {
  enum BuiltIn: Sendable { case sum, product, max, min, bitwiseAnd, bitwiseOr, bitwiseXor, logicalAnd, logicalOr }
  enum Kind: Sendable {
    case builtIn(BuiltIn)
    case custom(CustomOperation)
  }
  let kind: Kind

  private init(_ kind: Kind) { self.kind = kind }

  /// A custom operation, associative, not necessarily commutative.
  ///
  /// The values are combined in rank order, `combine(of lower ranks, of higher ranks)`; MPI chooses the grouping.
  /// The corresponding C function is `MPI_Op_create`.
  ///
  /// - Parameters:
  ///   - isCommutative: whether MPI may change the order, which is faster.
  ///   - combine: turns two values into one; called from within MPI, so it must not communicate.
  /// - Returns: the operation; it may be used any number of times.
  @inlinable
  public static func combining(
    isCommutative: Bool = false, _ combine: @escaping @Sendable (Element, Element) -> Element
  ) -> Operation {
    // A closure that is called for each value must be compiled with the caller's types.
    custom(isCommutative: isCommutative) { input, output, count in
      let stride = MemoryLayout<Element>.stride
      for offset in Swift.stride(from: 0, to: count * stride, by: stride) {
        // MPI's internal buffers guarantee no alignment beyond that of numbers.
        let combined = combine(
          input.loadUnaligned(fromByteOffset: offset, as: Element.self),
          output.loadUnaligned(fromByteOffset: offset, as: Element.self))
        output.storeBytes(of: combined, toByteOffset: offset, as: Element.self)
      }
    }
  }

  @usableFromInline
  static func custom(
    isCommutative: Bool, _ body: @escaping @Sendable (UnsafeRawPointer, UnsafeMutableRawPointer, Int) -> Void
  ) -> Operation {
    Operation(.custom(CustomOperation(elementType: Element.elementType, isCommutative: isCommutative, body)))
  }

  /// MPI's own operation if MPI knows the type of the values, otherwise `combine`, in rank order.
  static func builtIn(
    _ kind: BuiltIn, else combine: @escaping @Sendable (Element, Element) -> Element
  ) -> Operation {
    Element.elementType.isBytes ? combining(combine) : Operation(.builtIn(kind))
  }

  /// What a non-blocking operation must keep alive.
  var keptAlive: [AnyObject] {
    if case .custom(let custom) = kind { [custom] } else { [] }
  }

  /// The type and operation to pass to MPI.
  var handles: (type: MPI_Datatype, operation: MPI_Op) {
    get throws {
      switch kind {
      case .custom(let custom): return try custom.handles
      case .builtIn(let kind):
        let operation: MPI_Op =
          switch kind {
          case .sum: CMPI_SUM()
          case .product: CMPI_PROD()
          case .max: CMPI_MAX()
          case .min: CMPI_MIN()
          case .bitwiseAnd: CMPI_BAND()
          case .bitwiseOr: CMPI_BOR()
          case .bitwiseXor: CMPI_BXOR()
          case .logicalAnd: CMPI_LAND()
          case .logicalOr: CMPI_LOR()
          }
        return (try Element.elementType.handle, operation)
      }
    }
  }
}

extension Operation where Element: Numeric {
  /// The sum.
  public static var sum: Operation { builtIn(.sum) { $0 + $1 } }
  /// The product.
  public static var product: Operation { builtIn(.product) { $0 * $1 } }
}

extension Operation where Element: Numeric & Comparable {
  /// The largest value.
  public static var max: Operation { builtIn(.max) { $1 > $0 ? $1 : $0 } }
  /// The smallest value.
  public static var min: Operation { builtIn(.min) { $1 < $0 ? $1 : $0 } }
}

extension Operation where Element: FixedWidthInteger {
  /// The sum modulo the size of the type.
  public static var sum: Operation { builtIn(.sum) { $0 &+ $1 } }
  /// The product modulo the size of the type.
  public static var product: Operation { builtIn(.product) { $0 &* $1 } }
  /// The bits set in all values.
  public static var bitwiseAnd: Operation { builtIn(.bitwiseAnd) { $0 & $1 } }
  /// The bits set in any value.
  public static var bitwiseOr: Operation { builtIn(.bitwiseOr) { $0 | $1 } }
  /// The bits set in an odd number of values.
  public static var bitwiseXor: Operation { builtIn(.bitwiseXor) { $0 ^ $1 } }
  /// 1 if all values differ from 0, else 0.
  public static var logicalAnd: Operation { builtIn(.logicalAnd) { $0 != 0 && $1 != 0 ? 1 : 0 } }
  /// 1 if any value differs from 0, else 0.
  public static var logicalOr: Operation { builtIn(.logicalOr) { $0 != 0 || $1 != 0 ? 1 : 0 } }
}

/// A closure that MPI can call.
///
/// The only context of MPI's callback is the type of the elements. So each operation has its own type, a duplicate of the
/// elements' type, by which the callback finds the closure; any number of closures, with captures, share two C functions.
final class CustomOperation: @unchecked Sendable {
  typealias Body = @Sendable (_ input: UnsafeRawPointer, _ output: UnsafeMutableRawPointer, _ count: Int) -> Void

  private let elementType: ElementType
  private let isCommutative: Bool
  private let body: Body

  private struct Made: @unchecked Sendable { var type: MPI_Datatype? }
  private let made = Mutex(Made())

  init(elementType: ElementType, isCommutative: Bool, _ body: @escaping Body) {
    self.elementType = elementType
    self.isCommutative = isCommutative
    self.body = body
  }

  deinit {
    var type = made.withLock { $0 }.type
    guard let key = type else { return }
    customBodies.remove(key)
    if Runtime.isRunning { _ = MPI_Type_free(&type) }
  }

  /// The type and operation to pass to MPI; created on first use, when MPI is running.
  var handles: (type: MPI_Datatype, operation: MPI_Op) {
    get throws {
      let type = try made.withLock { made in
        if made.type == nil {
          try check(MPI_Type_dup(elementType.handle, &made.type), "MPI_Type_dup")
          customBodies.insert(body, for: made.type!)
        }
        return made
      }
      return (type.type!, try customBodies.operation(isCommutative: isCommutative))
    }
  }
}

private let customBodies = CustomBodies()

/// The closures of all operations in use, by the type that identifies each.
private final class CustomBodies: Sendable {
  private struct State: @unchecked Sendable {
    var bodies: [MPI_Datatype: CustomOperation.Body] = [:]
    var operations: [Bool: MPI_Op] = [:]
  }
  private struct Handle: @unchecked Sendable { let raw: MPI_Op }
  private let state = Mutex(State())

  func insert(_ body: @escaping CustomOperation.Body, for type: MPI_Datatype) {
    let key = Key(raw: type)
    state.withLock { $0.bodies[key.raw] = body }
  }

  func remove(_ type: MPI_Datatype) {
    let key = Key(raw: type)
    _ = state.withLock { $0.bodies.removeValue(forKey: key.raw) }
  }

  func body(of type: MPI_Datatype) -> CustomOperation.Body? {
    let key = Key(raw: type)
    return state.withLock { $0.bodies[key.raw] }
  }

  func operation(isCommutative: Bool) throws -> MPI_Op {
    try state.withLock { state in
      if let known = state.operations[isCommutative] { return Handle(raw: known) }
      var made: MPI_Op?
      let callback:
        @convention(c) (
          UnsafeMutableRawPointer?, UnsafeMutableRawPointer?, UnsafeMutablePointer<CInt>?, UnsafeMutablePointer<MPI_Datatype?>?
        ) -> Void = { input, output, count, type in
          guard let body = customBodies.body(of: type!.pointee!) else {
            fatalError("MPI called an operation that does not exist any more")
          }
          body(input!, output!, Int(count!.pointee))
        }
      try check(MPI_Op_create(callback, isCommutative ? 1 : 0, &made), "MPI_Op_create")
      state.operations[isCommutative] = made
      return Handle(raw: made!)
    }.raw
  }

  private struct Key: @unchecked Sendable { let raw: MPI_Datatype }
}

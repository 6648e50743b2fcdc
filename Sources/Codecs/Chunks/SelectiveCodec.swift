/// A codec whose code carries some values of a group, and nothing of the others, which are zero where it arrives.
protocol SelectiveCodec: Codec {}

extension ChunkTopK: SelectiveCodec {}
extension RandomK: SelectiveCodec {}
extension Threshold: SelectiveCodec {}
extension UnbiasedK: SelectiveCodec {}

extension Codec {
  /// Whether a code carries some values of a group alone, so that much of what is encoded is sent later, or never.
  public var isSparse: Bool { self is any SelectiveCodec }
}

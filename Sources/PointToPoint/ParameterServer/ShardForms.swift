internal import Buffers
internal import Codecs
internal import Kernels

/// The forms in which shards travel: codes, or floats in a warm start and where workers pull floats.
final class ShardForms {
  /// The shards as codes.
  let codes: ShardCodes
  /// The same shards as floats.
  let floats: ShardCodes
  /// Whether all messages of the segment are floats.
  var usesFloats = false
  /// Whether answers are floats in any case.
  private let pullsFloats: Bool
  private let floatCoder = GroupCoder(Identity(), count: 0)
  /// Encodes what leaves no residual; it has room for the largest shard.
  private let forgetfulCoder: GroupCoder
  /// Room for the largest shard.
  private let scratch: FloatBuffer
  /// The shards in blocks.
  private let blocks: [[ShardCodes.Block]]
  /// The same coder for blocks.
  private let blockCoder: GroupCoder

  /// The forms of `layout`, cut into shards of whole groups by the bytes of their codes, whatever is sent.
  init(_ layout: TensorLayout, codec: any Codec, shares: [Int], pullsFloats: Bool) {
    let shardCount = shares.count
    codes = ShardCodes(layout, codec: codec, shares: shares)
    floats = ShardCodes(layout, codec: Identity(), shares: shares, like: codes)
    self.pullsFloats = pullsFloats || codec.isIdentity
    let most = (0..<shardCount).map { [codes] in codes.elements(of: $0).count }.max() ?? 0
    forgetfulCoder = GroupCoder(codec, count: most)
    scratch = FloatBuffer(count: most)
    blocks = (0..<shardCount).map { [codes] in codes.blocks(of: $0) }
    blockCoder = GroupCoder(codec, count: blocks.joined().map(\.elements.count).max() ?? 0)
  }

  /// Whether pushes are the values themselves, of which nothing is lost.
  var pushesAreFloats: Bool { usesFloats || codes.codec.isIdentity }

  /// The groups encoded without a residual that were sent as zeros because they were not finite.
  var nonFiniteGroups: Int { forgetfulCoder.nonFiniteGroups + blockCoder.nonFiniteGroups }

  private var answersAreFloats: Bool { usesFloats || pullsFloats }

  /// The bytes that the largest message of a shard takes.
  func capacity(of shard: Int) -> Int { max(codes.byteCount(of: shard), floats.byteCount(of: shard)) }

  // MARK: Pushes

  /// Encodes a push of the values of a shard; what codes cannot carry stays in the residual of `coder`.
  func encodePush(
    _ shard: Int, _ values: UnsafePointer<Float>, by coder: GroupCoder, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int {
    guard !usesFloats else {
      return floats.encode(shard, values, by: floatCoder, at: 0, into: code, context: context)
    }
    return codes.encode(shard, values, by: coder, at: codes.elements(of: shard).lowerBound, into: code, context: context)
  }

  /// Encodes the values of a shard without a residual, and replaces them by what the code carries.
  func encodeForgetfully(
    _ shard: Int, _ values: UnsafeMutablePointer<Float>, into code: UnsafeMutableRawPointer, context: EncodingContext
  ) -> Int {
    guard !usesFloats else {
      return floats.encode(shard, values, by: floatCoder, at: 0, into: code, context: context)
    }
    forgetfulCoder.clear()
    let byteCount = codes.encode(shard, values, by: forgetfulCoder, at: 0, into: code, context: context)
    codes.decode(shard, code, by: forgetfulCoder, setting: values)
    return byteCount
  }

  /// Decodes a push, or what was encoded forgetfully.
  func decode(_ shard: Int, _ code: UnsafeRawPointer, setting values: UnsafeMutablePointer<Float>) {
    if usesFloats {
      floats.decode(shard, code, by: floatCoder, setting: values)
    } else {
      codes.decode(shard, code, by: forgetfulCoder, setting: values)
    }
  }

  /// Decodes a push block by block; calls `body` with the place of each in the shard and its values, while they are in the cache.
  func decodeBlocks(
    _ shard: Int, _ code: UnsafeRawPointer, _ body: (_ place: Range<Int>, _ values: UnsafeMutablePointer<Float>) -> Void
  ) {
    var end = 0
    for block in blocks[shard] {
      end +=
        usesFloats
        ? floats.decode(block, code + end, by: floatCoder, setting: scratch.baseAddress)
        : codes.decode(block, code + end, by: blockCoder, setting: scratch.baseAddress)
      body(block.elements, scratch.baseAddress)
    }
  }

  // MARK: Pulls

  /// Encodes an answer that brings `held`, what a worker holds of the shard, to `values` or near it; changes `held` as the
  /// worker will.
  func encodePull(
    _ shard: Int, of values: UnsafePointer<Float>, by held: UnsafeMutablePointer<Float>, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int {
    let count = codes.elements(of: shard).count
    guard !answersAreFloats else {
      held.update(from: values, count: count)
      return floats.encode(shard, held, by: floatCoder, at: 0, into: code, context: context)
    }
    // Block by block, so that values stay in the cache for all that is done to them.
    let difference = scratch.baseAddress
    var end = 0
    for block in blocks[shard] {
      let (place, count) = (block.elements.lowerBound, block.elements.count)
      subtract(values + place, held + place, count: count, into: difference)
      blockCoder.clear()
      let byteCount = codes.encode(block, difference, by: blockCoder, at: 0, into: code + end, context: context)
      _ = codes.decode(block, code + end, by: blockCoder, setting: difference)
      add(difference, count: count, to: held + place)
      end += byteCount
    }
    return end
  }

  /// Decodes an answer that was encoded so, and changes what the worker holds, a flat buffer of the whole model.
  func decodePull(_ shard: Int, _ code: UnsafeRawPointer, changing held: FloatBuffer) {
    let elements = codes.elements(of: shard)
    let values = held.baseAddress + elements.lowerBound
    guard !answersAreFloats else { return floats.decode(shard, code, by: floatCoder, setting: values) }
    decode(shard, code, setting: scratch.baseAddress)
    add(scratch.baseAddress, count: elements.count, to: values)
  }

  /// Calls `body` with room for the largest shard, which it does not share with pulls.
  func withScratch<Result>(_ body: (UnsafeMutablePointer<Float>) -> Result) -> Result { body(scratch.baseAddress) }
}

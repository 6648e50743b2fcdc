import Buffers
import Checkpoints
import Files
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

@Suite(.serialized) struct SafetensorsTests {
  /// A tensor whose memory lives as long as the test.
  private func tensor(_ name: String, _ shape: [Int], _ values: [Float]) -> SavedTensor {
    let buffer = FloatBuffer(count: values.count)
    for (index, value) in values.enumerated() { buffer[index] = value }
    return SavedTensor(name, shape: shape, of: buffer)
  }

  @Test func theBytesAreThoseOfTheFormat() throws {
    let directory = try TemporaryDirectory(on: world.alone)
    let path = directory.path + "/a.safetensors"
    let summary = try Safetensors.write(
      [tensor("b \"quoted\"", [2, 1], [1, -2]), tensor("none", [0], []), tensor("a", [], [0.5])],
      metadata: [("key", "välue\n")], to: path)
    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    // Written by hand from the format's description.
    let header =
      #"{"__metadata__":{"key":"välue\n"},"b \"quoted\"":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"#
      + #""none":{"dtype":"F32","shape":[0],"data_offsets":[8,8]},"a":{"dtype":"F32","shape":[],"data_offsets":[8,12]}}"#
    let length = (header.utf8.count + 8 + 63) / 64 * 64 - 8
    var expected = Data([UInt8(length & 255), UInt8(length >> 8), 0, 0, 0, 0, 0, 0])
    expected += Data(header.utf8) + Data(repeating: 32, count: length - header.utf8.count)
    expected += Data([0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0, 0, 0, 0, 0x3F])
    #expect(data == expected)
    #expect(summary.byteCount == data.count)
    #expect(summary.hash == data.withUnsafeBytes { XXHash64.hash($0) })

    let reader = try SafetensorsReader(path)
    #expect(reader.metadata == ["key": "välue\n"])
    #expect(reader.entries.map(\.name) == ["b \"quoted\"", "none", "a"])
    #expect(reader.entries.map(\.shape) == [[2, 1], [0], []])
    let values = FloatBuffer(count: 1)
    let entry = reader.entry("b \"quoted\"")
    try reader.read(#require(entry), from: 1, into: values.values)
    #expect(values[0] == -2)
    // A tensor that others stand before.
    let last = reader.entry("a")
    try reader.read(#require(last), into: values.values)
    #expect(values[0] == 0.5)
  }

  @Test func largeTensorsSpanPieces() throws {
    let directory = try TemporaryDirectory(on: world.alone)
    let path = directory.path + "/large.safetensors"
    let random = Philox(seed: 3, purpose: .tests)
    let large = FloatBuffer(count: 700_001)
    for i in 0..<large.count { large[i] = Float(bitPattern: random.word(i)) }
    let summary = try Safetensors.write([SavedTensor("large", of: large)], to: FileDestination(path))
    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    #expect(summary.hash == data.withUnsafeBytes { XXHash64.hash($0) })
    let reader = try SafetensorsReader(path)
    let read = FloatBuffer(count: large.count)
    let entry = reader.entry("large")
    try reader.read(#require(entry), into: read.values)
    #expect(read.hash() == large.hash())
    #expect(try directory.names() == ["large.safetensors"])
  }

  /// Headers with lengths, types, shapes and places that do not agree; each fault is found before anything is allocated or read.
  @Test(arguments: [
    (header: #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#, data: 8, fault: "has a damaged header"),
    (#"["a"]"#, 8, "is not a safetensors file: its header is not JSON"),
    (#"{"a":[]}"#, 8, "has a damaged header"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}}"#, 8, "has a damaged header"),
    (#"{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}"#, 8, "has a damaged header"),
    (#"{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}}"#, 8, "has a damaged header"),
    (#"{"a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}"#, 8, "holds tensor 'a' of type BF16; only F32 is read here"),
    (#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, 8, "gives tensor 'a' the impossible shape [-2]"),
    (
      #"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#, 8,
      "gives tensor 'a' the impossible shape [4294967296, 4294967296]"
    ),
    (
      #"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,8]}}"#, 8,
      "gives tensor 'a' the impossible shape [4611686018427387904]"
    ),
    (#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8, "gives tensor 'a' of shape [3] 8 bytes"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8, "places tensor 'a' at bytes 8 to 0, expected from 0"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}"#, 8, "places tensor 'a' at bytes -8 to 0, expected from 0"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#, 12, "places tensor 'a' at bytes 4 to 12, expected from 0"),
    (
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#, 12,
      "places tensor 'b' at bytes 4 to 12, expected from 8"
    ),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 4, "is truncated: tensor 'a' ends at byte 8 of 4"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 9, "has 1 bytes after its last tensor"),
    (#"{"__metadata__":{"a":1}}"#, 0, "has a damaged header"),
  ])
  func aHeaderThatLiesIsRefused(header: String, data: Int, fault: String) throws {
    let directory = try TemporaryDirectory(on: world.alone)
    var bytes = Data([UInt8(header.utf8.count), 0, 0, 0, 0, 0, 0, 0]) + Data(header.utf8)
    bytes += Data(repeating: 0, count: data)
    try check(bytes, in: directory, fault: fault)
  }

  @Test(arguments: [
    (bytes: [], fault: "is not a safetensors file: it has only 0 bytes"),
    ([1, 2, 3, 4, 5, 6, 7], "is not a safetensors file: it has only 7 bytes"),
    ([UInt8](repeating: 255, count: 12), "is not a safetensors file: its header would have 18446744073709551615 bytes"),
    ([0, 0, 0, 0, 0, 0, 0, 128, 123, 125], "is not a safetensors file: its header would have 9223372036854775808 bytes"),
    ([0, 225, 245, 5, 0, 0, 0, 0, 123, 125], "is truncated: its header has 100000000 bytes, the file 10"),
    ([3, 0, 0, 0, 0, 0, 0, 0, 123, 125], "is truncated: its header has 3 bytes, the file 10"),
    ([1, 0, 0, 0, 0, 0, 0, 0, 123, 125], "is truncated: its header has 1 bytes, the file 10"),
  ])
  func aFileThatIsNoneIsRefused(bytes: [UInt8], fault: String) throws {
    try check(Data(bytes), in: TemporaryDirectory(on: world.alone), fault: fault)
  }

  @Test func aDeepHeaderIsRefused() throws {
    let directory = try TemporaryDirectory(on: world.alone)
    let header = #"{"a":"# + String(repeating: "[", count: 100_000)
    let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
    try check(length + Data(header.utf8), in: directory, fault: "has a damaged header")
  }

  @Test func anEmptyHeaderIsAFileOfNothing() throws {
    let directory = try TemporaryDirectory(on: world.alone)
    let path = directory.path + "/x"
    try Data([2, 0, 0, 0, 0, 0, 0, 0, 123, 125]).write(to: URL(fileURLWithPath: path))
    #expect(try SafetensorsReader(path).entries == [])
  }

  @Test func whatIsNotARegularFileIsRefused() throws {
    let directory = try TemporaryDirectory(on: world.alone)
    #expect(throws: FileError.self) { _ = try SafetensorsReader(directory.path) }
    #expect(throws: FileError.self) { _ = try SafetensorsReader("/dev/zero") }
    let error = #expect(throws: FileError.self) { _ = try SafetensorsReader(directory.path + "/missing") }
    #expect(error?.description == "cannot read \(directory.path)/missing: No such file or directory")
    #expect(error?.exitStatus == 74)
  }

  private func check(_ bytes: Data, in directory: TemporaryDirectory, fault: String) throws {
    let path = directory.path + "/x.safetensors"
    try bytes.write(to: URL(fileURLWithPath: path))
    let error = #expect(throws: CheckpointError.self) { _ = try SafetensorsReader(path) }
    #expect(error?.description == "\(path) \(fault)")
  }
}

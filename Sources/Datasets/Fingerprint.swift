internal import Buffers

/// The hash of the contents of one file.
func hash(_ bytes: [UInt8]) -> UInt64 {
  bytes.withUnsafeBytes { XXHash64.hash($0) }
}

/// The hash of hashes, in their order.
func combinedHash(_ hashes: [UInt64]) -> UInt64 {
  hashes.map(\.littleEndian).withUnsafeBytes { XXHash64.hash($0) }
}

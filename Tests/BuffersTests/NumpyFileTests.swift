import Buffers
import Foundation
import Testing

@Suite struct NumpyFileTests {
  /// A file as numpy.save of NumPy 1.24 writes it: the header's text is padded with spaces to a multiple of 64 bytes.
  private func file(_ dictionary: String, version: UInt8 = 1, values: [UInt8]) -> [UInt8] {
    let prefix = version == 1 ? 10 : 12
    let text = dictionary + String(repeating: " ", count: 63 - (prefix + dictionary.utf8.count) % 64) + "\n"
    let length = UInt8(text.utf8.count)
    let start: [UInt8] = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]
    return start + (version == 1 ? [length, 0] : [length, 0, 0, 0]) + Array(text.utf8) + values
  }

  private func withFile<Result>(_ bytes: [UInt8], _ body: (String) throws -> Result) throws -> Result {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("morse-\(UUID().uuidString).npy").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return try body(path)
  }

  /// numpy.save of [[1, -2, 3.5], [0, 1e-40, -1e30]] as '<f4'.
  private let matrix: [UInt8] = [
    0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0xc0, 0x00, 0x00, 0x60, 0x40, 0x00, 0x00, 0x00, 0x00, 0xc2, 0x16, 0x01, 0x00,
    0xca,
    0xf2, 0x49, 0xf1,
  ]

  @Test("fp32, fp64, scalars and version 2.0 as NumPy writes them")
  func reading() throws {
    let single = try withFile(file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", values: matrix)) {
      try NumpyFile(reading: $0)
    }
    #expect(single.shape == [2, 3] && Array(single.values.values) == [1, -2, 3.5, 0, 0x1.16c2p-133, -1e30])
    // 0.1, −0.001 and 7 as '<f8'.
    let doubles: [UInt8] = [
      0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f, 0xfc, 0xa9, 0xf1, 0xd2, 0x4d, 0x62, 0x50, 0xbf, 0, 0, 0, 0, 0, 0, 0x1c,
      0x40,
    ]
    let double = try withFile(file("{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", values: doubles)) {
      try NumpyFile(reading: $0)
    }
    #expect(double.shape == [3] && Array(double.values.values) == [0.1, -0.001, 7])
    let scalar = try withFile(file("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", values: [0, 0, 0x20, 0x40])) {
      try NumpyFile(reading: $0)
    }
    #expect(scalar.shape.isEmpty && scalar.values[0] == 2.5)
    let second = try withFile(
      file(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 1), }", version: 2, values: [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40])
    ) { try NumpyFile(reading: $0) }
    #expect(second.shape == [1, 2, 1] && Array(second.values.values) == [1, 2])
    let empty = try withFile(file("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3), }", values: [])) {
      try NumpyFile(reading: $0)
    }
    #expect(empty.shape == [0, 3] && empty.values.count == 0)
  }

  @Test("what is written is what NumPy writes")
  func writing() throws {
    try withFile([]) { path in
      let values = FloatBuffer(count: 6)
      for (i, value) in [1, -2, 3.5, 0, 1e-40, -1e30].enumerated() { values[i] = Float(value) }
      for (shape, text) in [([2, 3], "(2, 3)"), ([6], "(6,)"), ([1, 2, 3], "(1, 2, 3)")] {
        try NumpyFile(shape: shape, values: values).write(to: path)
        let written = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        #expect(written == file("{'descr': '<f4', 'fortran_order': False, 'shape': \(text), }", values: matrix))
        #expect(try NumpyFile(reading: path).shape == shape)
      }
    }
  }

  @Test("faults are one sentence that names the file")
  func faults() throws {
    let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
    let cases: [([UInt8], String)] = [
      ([], "is not a NumPy array"), (Array("not numpy at all".utf8), "is not a NumPy array"),
      (file(good, version: 3, values: matrix), "version 3.0"), (Array(file(good, values: matrix).dropLast()), "holds 23 bytes"),
      (file(good, values: matrix + [0]), "holds 25 bytes"),
      (Array(file(good, values: matrix).prefix(60)), "ends within its header"),
      (file("{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }", values: matrix), "'<i4'"),
      (file("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }", values: matrix), "'>f4'"),
      (file("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", values: matrix), "Fortran order"),
      (file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, -3), }", values: matrix), "without a shape"),
      (file("{'descr': '<f4', 'fortran_order': False, }", values: matrix), "without a shape"),
      (
        file("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", values: matrix),
        "impossible shape"
      ),
    ]
    for (bytes, sentence) in cases {
      try withFile(bytes) { path in
        let error = #expect(throws: NumpyFileError.self) { try NumpyFile(reading: path) }
        #expect(
          error?.description.contains(path) == true && error?.description.contains(sentence) == true,
          "\(error?.description ?? "")")
      }
    }
    for path in ["/nowhere/at/all.npy", "/"] {
      #expect(throws: NumpyFileError.self) { try NumpyFile(reading: path) }
      #expect(throws: NumpyFileError.self) { try NumpyFile(shape: [0], values: FloatBuffer(count: 0)).write(to: path) }
    }
  }
}

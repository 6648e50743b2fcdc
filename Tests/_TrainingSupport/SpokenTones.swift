import Foundation

/// Recordings of the form that `speech:` reads: each digit a sequence of three tones, of changing length, with some noise.
struct SpokenTones {
  private let directory: String

  /// Recordings 3 to 10 of four digits and one speaker, written by rank 0; 3 and 4 are the test split, one of the others is too short
  /// for its states.
  init(in directory: TemporaryDirectory) throws {
    self.init(directory.path)
    try directory.change { try write() }
  }

  /// The same, to be written in `directory` by whoever wants them.
  init(_ directory: String) { self.directory = directory + "/tones" }

  func write() throws {
    try FileManager.default.createDirectory(atPath: directory + "/recordings", withIntermediateDirectories: true)
    var state: UInt64 = 88
    func draw(_ count: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % count
    }
    for digit in 0..<4 {
      for number in 3...10 {
        let lengths = digit == 3 && number == 7 ? [100, 100, 0] : [400 + draw(2000), 300 + draw(800), 200 + draw(400)]
        let samples = lengths.enumerated().flatMap { part, length in
          (0..<length).map { time in
            let frequency = 300.0 + 450 * Double(digit) + 700 * Double(part)
            return Int16(6000 * sin(2 * .pi * frequency * Double(time) / 8000) + Double(draw(1500)))
          }
        }
        try Data(wave(samples)).write(to: URL(fileURLWithPath: "\(directory)/recordings/\(digit)_a_\(number).wav"))
      }
    }
  }

  /// The specification of the data.
  var specification: String { "speech:\(directory),states=3,mels=12,context=1" }

  /// A WAV file of 16 bits at 8 kHz.
  private func wave(_ samples: [Int16]) -> [UInt8] {
    func bytes(_ value: Int, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
    let format = bytes(1, 2) + bytes(1, 2) + bytes(8000, 4) + bytes(16_000, 4) + bytes(2, 2) + bytes(16, 2)
    let data = samples.flatMap { bytes(Int($0), 2) }
    let chunks = Array("fmt ".utf8) + bytes(16, 4) + format + Array("data".utf8) + bytes(data.count, 4) + data
    return Array("RIFF".utf8) + bytes(4 + chunks.count, 4) + Array("WAVE".utf8) + chunks
  }
}

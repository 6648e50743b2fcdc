import Datasets
import Testing

/// A WAV file, right in every field unless said otherwise.
func wav(
  _ samples: [Int16], format: Int = 1, channels: Int = 1, rate: Int = 8000, bits: Int = 16,
  before: [UInt8] = [], after: [UInt8] = [], missing: Int = 0
) -> [UInt8] {
  let header =
    littleEndian(format, byteCount: 2) + littleEndian(channels, byteCount: 2) + littleEndian(rate, byteCount: 4)
    + littleEndian(rate * channels * bits / 8, byteCount: 4) + littleEndian(channels * bits / 8, byteCount: 2)
    + littleEndian(bits, byteCount: 2)
  let data = samples.flatMap { littleEndian(Int($0), byteCount: 2) }
  let chunks = chunk("fmt ", header) + before + chunk("data", data) + after
  let whole = Array("RIFF".utf8) + littleEndian(4 + chunks.count, byteCount: 4) + Array("WAVE".utf8) + chunks
  return Array(whole.dropLast(missing))
}

func chunk(_ name: String, _ bytes: [UInt8]) -> [UInt8] {
  Array(name.utf8) + littleEndian(bytes.count, byteCount: 4) + bytes + (bytes.count % 2 == 1 ? [0] : [])
}

@Suite struct WAVTests {
  private let samples: [Int16] = [0, 1, -1, 32767, -32768, 256]

  @Test func readsSamples() throws {
    #expect(try WAVFile(wav(samples), path: "a.wav").samples == samples)
    #expect(try WAVFile(wav([5]), path: "a.wav").samples == [5])
  }

  @Test func passesOverOtherChunks() throws {
    let content = wav(samples, before: chunk("LIST", [1, 2, 3]), after: chunk("bext", [9]))
    #expect(try WAVFile(content, path: "a.wav").samples == samples)
  }

  @Test func takesTheExtensibleForm() throws {
    let plain = Array(wav(samples)[20..<36])
    let fields =
      littleEndian(0xFFFE, byteCount: 2) + plain[2...] + littleEndian(22, byteCount: 2) + [16, 0, 0, 0, 0, 0, 1, 0]
      + [UInt8](repeating: 0, count: 14)
    let chunks = chunk("fmt ", fields) + chunk("data", littleEndian(77, byteCount: 2))
    #expect(fields.count == 40)
    var whole = Array("RIFF".utf8) + littleEndian(4 + chunks.count, byteCount: 4) + Array("WAVE".utf8) + chunks
    #expect(try WAVFile(whole, path: "a.wav").samples == [77])
    whole[20 + 24] = 3
    expectDataError("format 3") { _ = try WAVFile(whole, path: "a.wav") }
  }

  /// As a program leaves a file that it cannot go back in: sizes of 0, all ones, or what it takes for the most.
  @Test(arguments: [0, 0xFFFF_FFFF, 0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000])
  func sizesThatWereNeverFilledInAreThoseOfTheFile(size: Int) throws {
    let unknown = littleEndian(size, byteCount: 4)
    for before in [[], chunk("LIST", [1, 2, 3])] {
      let whole = wav(samples, before: before)
      let place = 40 + before.count
      var (both, form, data) = (whole, whole, whole)
      for content in 0..<2 { both.replaceSubrange([4, place][content]..<[8, place + 4][content], with: unknown) }
      form.replaceSubrange(4..<8, with: unknown)
      #expect(try WAVFile(both, path: "a.wav").samples == samples)
      // What follows the samples is passed over where their size is known.
      #expect(try WAVFile(form, path: "a.wav").samples == samples)
      #expect(try WAVFile(form + chunk("LIST", [9]), path: "a.wav").samples == samples)
      if size > 0 {
        data.replaceSubrange(place..<place + 4, with: unknown)
        #expect(try WAVFile(data, path: "a.wav").samples == samples)
      }
      // The header of an empty recording, never changed while more was written.
      both.replaceSubrange(4..<8, with: littleEndian(place - 4, byteCount: 4))
      #expect(try WAVFile(both, path: "a.wav").samples == samples)
      // Half a sample is a file that was cut.
      expectDataError("no whole number of samples") {
        both.replaceSubrange(4..<8, with: unknown)
        _ = try WAVFile(Array(both.dropLast()), path: "a.wav")
      }
      expectDataError("holds no samples") { _ = try WAVFile(Array(both[..<(place + 4)]), path: "a.wav") }
    }
  }

  @Test func passesOverWhatFollowsTheForm() throws {
    for after in [[0], [0, 0], Array("TAG and a title that somebody appended".utf8), [UInt8](repeating: 0, count: 512)] {
      #expect(try WAVFile(wav(samples) + after, path: "a.wav").samples == samples)
      #expect(try WAVFile(wav(samples, before: chunk("fact", [6, 0, 0, 0])) + after, path: "a.wav").samples == samples)
    }
  }

  @Test func oddChunksMayLackTheirPadding() throws {
    let unpadded = Array("LIST".utf8) + littleEndian(3, byteCount: 4) + [1, 2, 3]
    #expect(try WAVFile(wav(samples, before: unpadded), path: "a.wav").samples == samples)
    // Padding is a byte of any value.
    #expect(try WAVFile(wav(samples, before: unpadded + [0x64]), path: "a.wav").samples == samples)
  }

  @Test func refusesDamagedFiles() {
    let whole = wav(samples)
    let noFormat = Array("RIFF".utf8) + littleEndian(14, byteCount: 4) + Array("WAVE".utf8) + chunk("data", [1, 2])
    let noData = Array("RIFF".utf8) + littleEndian(4, byteCount: 4) + Array("WAVE".utf8)
    let oddData = Array("RIFF".utf8) + littleEndian(40, byteCount: 4) + Array(whole[8..<36]) + chunk("data", [1, 2, 3])
    var longChunk = whole
    longChunk[40] = 200
    let cases: [(content: [UInt8], fragments: [String])] = [
      ([], ["is empty"]),
      (Array("RI".utf8), ["not a WAV file"]),
      (Array("ID3 an MP3 file".utf8), ["not a WAV file", "convert"]),
      (Array("RIFF....AVI LIST".utf8), ["not a WAV file"]),
      (Array(whole[..<7]), ["truncated", "7 bytes"]),
      (wav(samples, missing: 1), ["truncated", "56 bytes, and it has 55"]),
      (longChunk, ["truncated", "a chunk of 200 bytes"]),
      (wav([]), ["holds no samples"]),
      (noFormat, ["before their format"]),
      (noData, ["no chunk of samples"]),
      (oddData, ["3 bytes are no whole number of samples"]),
      (wav(samples, format: 3), ["format 3", "convert it to 1 channel of PCM, 16 bits, 8000 Hz"]),
      (wav(samples, channels: 2), ["2 channels"]),
      (wav(samples, rate: 16000), ["16000 Hz"]),
      (wav(samples, bits: 8), ["8 bits"]),
    ]
    for (content, fragments) in cases {
      for fragment in ["'dir/a.wav'"] + fragments {
        expectDataError(fragment) { _ = try WAVFile(content, path: "dir/a.wav") }
      }
    }
  }

  @Test func everyPrefixIsRefusedAndNoneCrashes() {
    let whole = wav(samples, before: chunk("LIST", [1, 2, 3]))
    for count in whole.indices {
      expectDataError("'a.wav'") { _ = try WAVFile(Array(whole[..<count]), path: "a.wav") }
    }
  }

  @Test func readsNames() {
    let name = RecordingName("7_maria_12.wav")
    #expect(name?.digit == 7 && name?.speaker == "maria" && name?.number == 12 && name?.split == .train)
    #expect(RecordingName("0_a_4.wav")?.split == .test && RecordingName("0_a_5.wav")?.split == .train)
    #expect(RecordingName("1_jean_luc_0.wav")?.speaker == "jean_luc")
    #expect(RecordingName("3_Eva_7.WAV")?.speaker == "Eva" && RecordingName("3_Eva_7.Wav")?.number == 7)
    for wrong in [
      "7_maria.wav", "77_maria_1.wav", "x_maria_1.wav", "7_maria_-1.wav", "7_maria_.wav", "7__1.wav", "7_maria_1.mp3", ".wav",
    ] {
      #expect(RecordingName(wrong) == nil, "\(wrong)")
    }
  }
}

import Buffers
import Datasets
import Testing

@Suite struct TextTests {
  private func read(_ bytes: [UInt8], context: Int = 4, test: String = "0.1", name: String = "text.txt") throws -> TextDataset {
    let directory = TemporaryDirectory()
    directory.write(bytes, to: name)
    return try TextDataset(path: "\(directory.path)/\(name)", context: context, test: Amount(test)!, specification: "text:test")
  }

  private func read(_ text: String, context: Int = 4, test: String = "0.1") throws -> TextDataset {
    try read(Array(text.utf8), context: context, test: test)
  }

  /// The characters of a window, and those that follow each.
  private func window(_ index: Int, of split: Split, in data: TextDataset, variation: Philox? = nil) -> [String] {
    var inputs = [Float](repeating: -1, count: data.featureCount)
    var labels = [Int32](repeating: -1, count: data.featureCount)
    data.read(index, of: split, variation: variation, into: &inputs, labels: &labels)
    return [data.vocabulary.decode(inputs.map { Int($0) }), data.vocabulary.decode(labels.map { Int($0) })]
  }

  /// Fifty characters, no three of which repeat in a row: places can be told from what stands there.
  private let text = String("the quick brown fox jumps over a lazy dog; 1234567".prefix(50))

  @Test func windowsAreCharactersAndTheirFollowers() throws {
    let data = try read(text, context: 4)
    #expect(data.kind == .tokens && data.featureCount == 4 && data.classCount == Set(text).count)
    #expect(data.form.targetCount == 4)
    // 45 characters of training, 5 of test; the last of a split is only a target.
    #expect(data.count(.train) == 11 && data.count(.test) == 1)
    #expect(window(0, of: .train, in: data) == ["the ", "he q"])
    #expect(window(1, of: .train, in: data) == ["quic", "uick"])
    #expect(window(10, of: .train, in: data) == ["g; 1", "; 12"])
    #expect(window(0, of: .test, in: data) == ["3456", "4567"])
    #expect(data.label(1, of: .train) == data.vocabulary.token(of: "u"))
    let batch = Minibatch(capacity: 2, of: data.form)
    data.load([2, 0], of: .train, into: batch)
    #expect(data.vocabulary.decode(batch.inputs.values.map { Int($0) }) == "k brthe ")
    #expect(data.vocabulary.decode(batch.labels.map { Int($0) }) == " brohe q")
  }

  @Test(arguments: [(46, 9, 4, 11, 2), (45, 8, 4, 11, 1), (44, 5, 4, 10, 1), (44, 3, 1, 43, 2), (40, 40, 39, 1, 1)])
  func splitsHaveAsManyWindowsAsFit(train: Int, test: Int, context: Int, trainWindows: Int, testWindows: Int) throws {
    let whole = Array(repeating: "abcdefg", count: 20).joined()
    let data = try read(String(whole.prefix(train + test)), context: context, test: "\(test)")
    #expect(data.count(.train) == trainWindows && data.count(.test) == testWindows)
  }

  @Test func variedWindowsBeginLaterButStayInTheirSplit() throws {
    let data = try read(text, context: 4)
    let characters = Array(text)
    var starts: [Int: Set<Int>] = [:]
    for index in 0..<data.count(.train) {
      for step in 0..<60 {
        let random = Philox(seed: 9, purpose: .augmentation, step: step, stream: index)
        let found = window(index, of: .train, in: data, variation: random)
        let places = (0...40).filter { String(characters[$0..<$0 + 4]) == found[0] }
        #expect(places.count == 1 && found[1] == String(characters[places[0] + 1..<places[0] + 5]))
        starts[index, default: []].insert(places[0])
      }
    }
    for index in 0..<10 { #expect(starts[index] == Set(4 * index..<4 * index + 4)) }
    // The last window ends with its split.
    #expect(starts[10] == [40])
    let random = Philox(seed: 9, purpose: .augmentation)
    #expect(window(0, of: .test, in: data, variation: random) == window(0, of: .test, in: data))
  }

  @Test func tokensAreInTheOrderOfCodePoints() throws {
    let data = try read("zebra ähre €uro 😀 zebra ähre", context: 2, test: "5")
    let characters = data.vocabulary.characters
    #expect(characters == characters.sorted() && Set(characters).count == characters.count)
    #expect(String(String.UnicodeScalarView(characters)) == " abehoruzä€😀")
    #expect(try data.vocabulary.encode("äh 😀") == [9, 4, 0, 11])
    #expect(data.vocabulary.decode([9, 4, 0, 11]) == "äh 😀")
    for character in characters { #expect(characters[data.vocabulary.token(of: character)!] == character) }
    #expect(data.vocabulary.token(of: "\u{0}") == nil && data.vocabulary.token(of: "😁") == nil)
    expectDataError("'é' (U+00E9) is not among the 12 characters") { _ = try data.vocabulary.encode("é") }
    expectDataError("the character U+000A is not among") { _ = try data.vocabulary.encode("a\n") }
  }

  @Test func compressedTextsAreTheSameData() throws {
    let plain = try read(text)
    let compressed = try read(gzip(Array(text.utf8)), name: "text.txt.gz")
    #expect(compressed.fingerprint == plain.fingerprint && compressed.vocabulary == plain.vocabulary)
    var other = Array(text.utf8)
    other[49] = 65
    #expect(try read(other).fingerprint != plain.fingerprint)
    #expect(try read(text, context: 3).fingerprint != plain.fingerprint)
  }

  @Test func refusesWhatIsNoText() {
    let cases: [(bytes: [UInt8], fragments: [String])] = [
      ([], ["is empty"]),
      (Array("abc\u{e9}x".utf8.dropLast(2)) + [65, 66], ["is not UTF-8", "offset 3"]),
      ([0xFF, 0xFE, 65, 0], ["is not UTF-8", "offset 0"]),
      (Array("ab€".utf8.dropLast()), ["is not UTF-8", "offset 2"]),
      ([97, 98, 0xED, 0xA0, 0x80], ["is not UTF-8", "offset 2"]),
      (Array(repeating: 10, count: 100), ["repeats one character", "U+000A"]),
      (Array("abc".utf8), ["the training split has 2 characters", "windows of 4 need 5", "context=N"]),
      (Array("abcdefghijklmnopqrst".utf8), ["the test split has 2 characters", "windows of 4 need 5"]),
    ]
    for (bytes, fragments) in cases {
      for fragment in ["text.txt'"] + fragments { expectDataError(fragment) { _ = try read(bytes) } }
    }
    expectDataError("test=50 leaves none") { _ = try read(text, test: "50") }
    expectDataError("cannot open '/no/such/file'") { _ = try TextDataset(path: "/no/such/file", specification: "") }
    expectDataError("'/': it is not a file") { _ = try TextDataset(path: "/", specification: "") }
  }

  /// The context of a model is that of its text, unless the text has its own.
  @Test func modelsSayTheirContext() throws {
    let directory = TemporaryDirectory()
    directory.write(Array(repeating: Array(text.utf8), count: 60).flatMap { $0 }, to: "a")
    let (path, plain) = (directory.path + "/a", try datasets.make("text:\(directory.path)/a"))
    #expect(try plain(1).featureCount == 128)
    #expect(try plain.forModel(reading: 7)(1).featureCount == 7 && plain.forModel(reading: nil)(1).featureCount == 128)
    let own = try datasets.make("text:\(path),context=9,test=30")
    #expect(try own(1).featureCount == 9 && own.forModel(reading: nil)(1).featureCount == 9)
    #expect(try own.forModel(reading: 9)(1).count(.test) == 3)
    #expect { try own.forModel(reading: 8) } throws: {
      $0 is SpecificationError && "\($0)".contains("has a context of 9 tokens, and the model one of 8")
    }
    #expect(try datasets.make("glyphs:train=5").forModel(reading: 8)(1).count(.train) == 5)
  }

  @Test(.enabled(if: sharedData("tinyshakespeare") != nil, "the plays are not in ../shared/data"))
  func readsPlays() throws {
    let data = try #require(try datasets.make("text:\(sharedData("tinyshakespeare")!)/input.txt")(1) as? TextDataset)
    #expect(data.classCount == 65 && data.featureCount == 128)
    // 1 003 854 and 111 540 characters.
    #expect(data.count(.train) == 7842 && data.count(.test) == 871)
    #expect(window(0, of: .train, in: data)[0].hasPrefix("First Citizen:\nBefore we proceed"))
    #expect(window(0, of: .test, in: data)[0].hasPrefix("?\n\nGREMIO:\nGood morrow"))
  }
}

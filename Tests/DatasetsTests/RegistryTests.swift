import Buffers
import Datasets
import Testing

@Suite struct DatasetRegistryTests {
  @Test func makesGlyphsOfTheSizesAskedFor() throws {
    let data = try datasets.make("glyphs:train=300,test=20")(4)
    #expect(data.count(.train) == 300 && data.count(.test) == 20)
    #expect(data.specification == "glyphs:train=300,test=20" && data.classCount == 10 && data.featureCount == 784)
    #expect(try datasets.make("glyphs")(4).count(.train) == 60_000)
  }

  @Test(arguments: [
    ("glyfs", "did you mean 'glyphs'"), ("glyphs:trian=3", "did you mean 'train'"), ("glyphs:7", "takes no value"),
    ("glyphs:train=0", "train is a whole number of 1"), ("idx", "write idx:DIR"), ("idx:", "write idx:DIR"),
    ("speech:a,b", "takes one"), ("idx:a,classes=1", "classes is a whole number of 2"), ("speech:a,states=x", "not 'x'"),
  ]) func refusesWrongSpecificationsBeforeAnyFileIsOpened(text: String, sentence: String) {
    do {
      _ = try datasets.make(text)
      Issue.record("'\(text)' was taken")
    } catch {
      #expect("\(error)".contains(sentence), "'\(error)' does not say '\(sentence)'")
    }
  }

  @Test(arguments: ["idx", "speech"]) func namesAMissingDirectory(name: String) throws {
    let make = try datasets.make("\(name):/no/such/place")
    expectDataError("'/no/such/place", "No such file or directory", "\(name):DIR is the directory") { _ = try make(1) }
  }
}

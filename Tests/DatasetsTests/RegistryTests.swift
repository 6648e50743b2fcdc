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
    ("speech:a,b", "takes one"), ("cifar10", "write cifar10:DIR"), ("cifar10:a,train=0", "train is a whole number of 1"),
    ("cifar10:a,augment=1", "augment is true or false"), ("cifar10:a,coarse=true", "no key 'coarse'"),
    ("npy", "write npy:DIR"), ("npy:a,layout=chw", "unknown layout 'chw'; did you mean 'nchw'?"),
    ("npy:a,standardize=no", "standardize is true or false"), ("text", "'text' names no file; write text:FILE"),
    ("text:a,b", "names 2 files, and takes one"),
    ("text:a,context=0", "context is a whole number of 1"), ("text:a,test=1.5", "test is a number from 1 or a share"),
    ("idx:a,classes=1", "classes is a whole number of 2"), ("speech:a,states=x", "not 'x'"),
  ]) func refusesWrongSpecificationsBeforeAnyFileIsOpened(text: String, sentence: String) {
    do {
      _ = try datasets.make(text)
      Issue.record("'\(text)' was taken")
    } catch {
      #expect("\(error)".contains(sentence), "'\(error)' does not say '\(sentence)'")
    }
  }

  @Test(arguments: ["idx", "speech", "cifar10", "npy"]) func namesAMissingDirectory(name: String) throws {
    let make = try datasets.make("\(name):/no/such/place")
    expectDataError("'/no/such/place", "No such file or directory", "\(name):DIR is the directory") { _ = try make(1) }
  }
}

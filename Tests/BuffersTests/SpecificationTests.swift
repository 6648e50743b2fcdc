import Buffers
import Testing

@Suite struct SpecificationTests {
  @Test("values come first, then keys")
  func reading() throws {
    let specification = try Specification("mlp:512,256,activation=sigmoid,start=he")
    #expect(specification.name == "mlp" && specification.values == ["512", "256"])
    #expect(specification.options == ["activation": "sigmoid", "start": "he"])
    #expect(try Specification("none").values.isEmpty)
    #expect(try Specification("idx:").values.isEmpty)
    #expect(try Specification("idx:../a:b").values == ["../a:b"])
    #expect(try Specification("x:key=a=b").options == ["key": "a=b"])
  }

  @Test("what is wrong is said", arguments: [("a:k=1,k=2", "'k' twice"), ("a:k=1,2", "'2' after a key")])
  func faults(text: String, sentence: String) {
    let error = #expect(throws: SpecificationError.self) { try Specification(text) }
    #expect(error?.description.contains(sentence) == true)
  }

  @Test("numbers are checked")
  func numbers() throws {
    let specification = try Specification("a:n=5,x=0.5,bad=five,nan=nan,inf=inf")
    #expect(try specification.integer("n", default: 1, in: 1...9) == 5)
    #expect(try specification.integer("absent", default: 7, in: 1...9) == 7)
    #expect(try specification.number("x", default: 1, in: 0...1) == 0.5)
    #expect(throws: SpecificationError.self) { try specification.integer("n", default: 1, in: 6...9) }
    #expect(throws: SpecificationError.self) { try specification.integer("x", default: 1, in: 0...9) }
    for key in ["bad", "nan", "inf"] {
      #expect(throws: SpecificationError.self) { try specification.number(key, default: 1, in: 0...1) }
    }
  }
}

@Suite struct RegistryTests {
  let fruits = Registry<String>(
    "fruit",
    [
      .init("apple", "grows on trees", keys: [("colour", "green or red (red)")]) { "apple \($0.options["colour"] ?? "red")" },
      .init("orange", "grows in the south", values: "how many") { "\($0.values.first ?? "1") orange" },
      .init("plum", "blue") { _ in "plum" },
    ])

  @Test("makes what is specified")
  func making() throws {
    #expect(try fruits.make("apple") == "apple red")
    #expect(try fruits.make("apple:colour=green") == "apple green")
    #expect(try fruits.make("orange:3") == "3 orange")
  }

  @Test(
    "names the known ones and the nearest spelling",
    arguments: [
      ("aple", "unknown fruit 'aple'; did you mean 'apple'? known: apple, orange, plum"),
      ("banana", "unknown fruit 'banana'; known: apple, orange, plum"),
      ("apple:color=red", "fruit 'apple' has no key 'color'; did you mean 'colour'? known: colour"),
      ("apple:3", "fruit 'apple' takes no value '3'; its keys are colour"),
      ("plum:a=b", "fruit 'plum' has no key 'a'; it takes none"),
      ("", "unknown fruit ''"),
    ])
  func suggestions(text: String, sentence: String) {
    let error = #expect(throws: SpecificationError.self) { try fruits.make(text) }
    #expect(error?.description.hasPrefix(sentence) == true, "\(error?.description ?? "")")
  }
}

import ArgumentParser
import Laboratory

/// The tables of the paper on 1-bit SGD, in miniature; README.md lists the differences.
@main
struct Seide2014: Example {
  static let shortName = "seide2014"
  static let configuration = CommandConfiguration(
    commandName: "example-seide2014",
    abstract: "The tables of \"1-bit stochastic gradient descent and its application to data-parallel distributed training "
      + "of speech DNNs\" (Seide, Fu, Droppo, Li, Yu 2014) in miniature, the paper's figures beside ours.",
    discussion: """
      Run it in the package's folder. Results are kept by command line, so that a table that was stopped goes on where it was.

        swift build -c release
        .build/release/example-seide2014 table2 --data speech:DIR
      """,
    subcommands: [
      Table1.self, Table2.self, Table3.self, Table4.self, Table5.self, Table6.self, FirstStep.self, Check.self,
    ])
}

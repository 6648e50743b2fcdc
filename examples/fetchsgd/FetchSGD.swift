import ArgumentParser
import Laboratory

/// The measurements of the FetchSGD paper, in miniature; README.md lists the differences.
@main
struct FetchSGD: Example {
  static let shortName = "fetchsgd"
  static let configuration = CommandConfiguration(
    commandName: "example-fetchsgd",
    abstract: "Accuracy against compression, after \"FetchSGD: communication-efficient federated learning with sketching\" "
      + "(Rothchild, Panda, Ullah, Ivkin, Stoica, Braverman, Gonzalez, Arora 2020), in miniature.",
    discussion: """
      Run it in the package's folder. Results are kept by command line, so that a table that was stopped goes on where it was.

        swift build -c release
        .build/release/example-fetchsgd accuracy --data idx:DIR --svg accuracy.svg
      """,
    subcommands: [Accuracy.self, Choice.self, Gradients.self, Check.self])
}

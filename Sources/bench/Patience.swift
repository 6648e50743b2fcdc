internal import Strategies
internal import Trainer

/// How long the ranks of a measurement wait for one another: the same as in training.
let benchPatience = TrainerOptions().waiting(program: "bench")

#!/usr/bin/python3
"""PyTorch's side of `bench step`: the same model, minibatch and optimizer, on as many threads.

For each line "N" on standard input it runs N training steps (forward, backward, SGD with momentum) and answers with the
seconds they took; the first line it writes is PyTorch's version. It ends with its input. Needs Debian's python3-torch.
"""

import argparse
import os
import sys
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--sizes", required=True, help="layer sizes from the inputs to the classes: 784,512,10")
parser.add_argument("--activation", choices=["relu", "sigmoid"], default="relu")
parser.add_argument("--minibatch", type=int, default=256)
parser.add_argument("--rate", type=float, default=0.001)
parser.add_argument("--momentum", type=float, default=0.9)
parser.add_argument("--threads", type=int, default=1)
options = parser.parse_args()

# torch.set_num_threads does not reach OpenBLAS, which would take every core; it reads this when it is loaded.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(options.threads)

import torch  # noqa: E402  (only now, because of the line above)

torch.set_num_threads(options.threads)
torch.manual_seed(1)
sizes = [int(size) for size in options.sizes.split(",")]
activation = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}[options.activation]
layers = []
for inputs, outputs in zip(sizes, sizes[1:]):
    layers += [torch.nn.Linear(inputs, outputs), activation()]
model = torch.nn.Sequential(*layers[:-1])
optimizer = torch.optim.SGD(model.parameters(), lr=options.rate, momentum=options.momentum)
cross_entropy = torch.nn.CrossEntropyLoss()
inputs = torch.randn(options.minibatch, sizes[0])
labels = torch.randint(sizes[-1], (options.minibatch,))

print(f"PyTorch {torch.__version__}", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    for _ in range(int(line)):
        # Without clearing gradients that are overwritten anyway: the fastest way there is.
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    print(time.perf_counter() - start, flush=True)

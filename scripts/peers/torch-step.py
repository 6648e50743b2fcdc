#!/usr/bin/python3
"""PyTorch's side of `bench step`: the same model, minibatch and optimizer, on as many threads.

For each line "N" on standard input it runs N training steps (forward, backward, SGD with momentum) and answers with the
seconds they took; the first line it writes is PyTorch's version. It ends with its input. Needs a PyTorch: Debian's
python3-torch, or that of the Python which runs it.
"""

import argparse
import os
import sys
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", required=True, help="the model as Morse names it: cnn:20,50,500")
parser.add_argument("--inputs", default="784", help="the form of a sample: 784, 32x32x3 or text:128")
parser.add_argument("--classes", type=int, default=10)
parser.add_argument("--minibatch", type=int, default=256)
parser.add_argument("--rate", type=float, default=0.001)
parser.add_argument("--momentum", type=float, default=0.9)
parser.add_argument("--threads", type=int, default=1)
options = parser.parse_args()

# torch.set_num_threads does not reach OpenBLAS, which would take every core; it reads this when it is loaded.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(options.threads)

import torch  # noqa: E402  (only now, because of the line above)

from torch_models import build, form_of, random_samples  # noqa: E402

torch.set_num_threads(options.threads)
torch.manual_seed(1)
form = form_of(options.inputs)
model = build(options.model, form, options.classes)
if form[0] == "image":
    model = model.to(memory_format=torch.channels_last)
settings = {"lr": options.rate, "momentum": options.momentum}
try:
    optimizer = torch.optim.SGD(model.parameters(), fused=True, **settings)
except (TypeError, RuntimeError):
    # Only newer versions update all parameters in one pass.
    optimizer = torch.optim.SGD(model.parameters(), **settings)
cross_entropy = torch.nn.CrossEntropyLoss()
inputs, labels = random_samples(form, options.classes, options.minibatch)

kernels = os.environ.get("OPENBLAS_CORETYPE")
print(f"PyTorch {torch.__version__}" + (f" with OPENBLAS_CORETYPE={kernels}" if kernels else ""), flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    for _ in range(int(line)):
        # Without clearing gradients that are overwritten anyway: the fastest way there is.
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    print(time.perf_counter() - start, flush=True)

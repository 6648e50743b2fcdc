#!/usr/bin/python3
"""Count Sketches of Morse beside the public CSVec in PyTorch, on one thread of this machine, in one sitting.

CSVec is not part of this package: install it (https://github.com/nikitaivkin/csh), or say with --path in which folder its
csvec.py lies. Rates are those of `bench codecs`, and on the other side the best of some calls, each of which is preceded by
ours: 10⁹ values a second. Needs Debian's python3-torch (scripts/install-dependencies peers), and 3 GB of memory for 16 Mi values.
"""

import argparse
import json
import os
import subprocess
import sys
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--path", help="the folder of csvec.py")
parser.add_argument("--bench", default=".build/release/bench", help="our side")
parser.add_argument("--count", type=int, default=1 << 24, help="values")
parser.add_argument("--rows", type=int, default=5)
parser.add_argument("--columns", type=int, nargs="*", default=[20, 50], help="values over columns (20 50)")
parser.add_argument("--share", type=int, default=100, help="values over those that are chosen (100)")
parser.add_argument("--calls", type=int, default=3)
options = parser.parse_args()

# Read when the libraries are loaded.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
if options.path:
    sys.path.insert(0, options.path)
try:
    import torch
    import csvec
except ImportError as error:
    sys.exit(f"csvec.py: {error}; see --help for what this comparison needs")

torch.set_num_threads(1)
count, k = options.count, options.count // options.share
torch.manual_seed(1)
vector = torch.randn(count)


def ours(codec):
    """Our rates by operation."""
    command = [options.bench, "codecs", "--json", "--iterations", "3", "--count", str(count), "--codec", codec]
    rows = [json.loads(line) for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()]
    return {row["operation"]: row["valuesPerSecond"] for row in rows}


def compare(what, codec, operation, call):
    own, peer = 0, 0
    for _ in range(options.calls):
        own = max(own, ours(codec)[operation])
        start = time.perf_counter()
        call()
        peer = max(peer, count / (time.perf_counter() - start))
    print(f"{what:34} {own / 1e9:10.3f} {peer / 1e9:10.4f} {own / peer:8.1f}", flush=True)


print(f"{count} values, 10⁹ values/s             {'Morse':>10} {'PyTorch':>10} {'ratio':>8}")
for over in options.columns:
    sketch = csvec.CSVec(d=count, c=count // over, r=options.rows, device="cpu", numBlocks=1)
    codec = f"count-sketch:rows={options.rows},columns=1/{over},k=1/{options.share}"
    sketch.accumulateVec(vector)
    shape = f"{options.rows} × {count // over}"
    compare(f"insert, {shape}", codec, "insert", lambda: sketch.accumulateVec(vector))
    compare(f"k largest estimates, {shape}", codec, "query-top-k", lambda: sketch.unSketch(k=k))
    del sketch
    # It keeps its hashes of all sizes.
    csvec.cache.clear()
compare(f"k largest of {options.share} k", f"top-k:k=1/{options.share}", "top-k", lambda: torch.topk(vector**2, k, sorted=False))

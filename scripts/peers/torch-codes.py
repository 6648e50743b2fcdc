#!/usr/bin/python3
"""Encoding and decoding by Morse beside GRACE's PyTorch code and PyTorch's own, on one thread.

    scripts/peers/torch-codes.py [--grace DIR] [--count 16777216] [--turns 5]

DIR is a copy of github.com/sands-lab/grace; without it there are only PyTorch's rows. For each code both take turns: Morse by `bench codecs`,
its peer on a vector of as many normal numbers. What is compared is one contribution's way through a rank:

  encode   residual added, code made, new residual kept, where the code has error feedback (GRACE: ResidualMemory); the code alone where not
  decode   the code to floats
  bits     of a value in what is sent, by the size of the tensors

GRACE's codes are those of its folder grace_dl/torch/compressor; `natural` needs a GPU and is left out. PyTorch's own are the steps of its
hooks quantization_pertensor_hook (range, scale, eight bits; the hook itself runs on GPUs alone), fp16_compress_hook and bf16_compress_hook, and
torch.topk. Speeds are medians, in thousand millions of values a second; the last columns are how many times faster Morse is. Needs Debian's
python3-torch (scripts/install-dependencies peers) and `swift build -c release`; leave the machine alone meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--grace", metavar="DIR", help="a copy of GRACE")
parser.add_argument("--count", type=int, default=1 << 24, help="values")
parser.add_argument("--turns", type=int, default=5, help="measurements of each")
options = parser.parse_args()
if options.count < 1 or options.turns < 1:
    parser.error("--count and --turns are at least 1")

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
import torch  # noqa: E402  (only now, because of the line above)

torch.set_num_threads(1)
torch.manual_seed(1)
bench = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".build", "release", "bench")
if not os.path.exists(bench):
    sys.exit("torch-codes: .build/release/bench is not there: swift build -c release")


class Alone:
    """A code without error feedback: encode, and decode of what it gave."""

    def __init__(self, encode, decode):
        self.encode, self.decode = encode, decode


def grace(compressor, memory=None):
    """A code of GRACE, with what it keeps."""

    def encode(values):
        kept = memory.compensate(values, "x") if memory else values
        code = compressor.compress(kept, "x")
        if memory:
            memory.update(kept, "x", compressor, *code)
        return code

    return Alone(encode, lambda code: compressor.decompress(*code))


def quantized(values):
    """Eight bits between the least and the largest value, as quantization_pertensor_hook makes them."""
    least, largest = min(values.min().item(), 0.0), max(values.max().item(), 0.0)
    scale = max((largest - least) / 255, 1e-12)
    zero = round(-least / scale)
    return torch.clamp(torch.round(values / scale) + zero, 0, 255).to(torch.uint8), scale, zero


def largest(values, share=0.01):
    """The largest values, with 64-bit indices."""
    indices = values.abs().topk(max(1, int(share * values.numel())), sorted=False).indices
    return values[indices], indices, values.numel()


def scattered(code):
    """The largest values where they were."""
    values, indices, count = code
    return torch.zeros(count).scatter_(0, indices, values)


# Name, Morse's specification, the peer.
pairs = [
    ("PyTorch, 8 bits per tensor", "uniform:range=min-max,feedback=false", Alone(quantized, lambda code: code[1] * (code[0].float() - code[2]))),
    ("PyTorch, fp16", "fp16", Alone(lambda values: values.half(), lambda code: code.float())),
    ("PyTorch, bf16", "bf16", Alone(lambda values: values.bfloat16(), lambda code: code.float())),
    ("PyTorch, topk 1/100", "chunk-top-k:k=1/100", Alone(largest, scattered)),
]
if options.grace:
    sys.path.insert(0, options.grace)
    from grace_dl.torch.compressor import efsignsgd, onebit, qsgd, terngrad, topk  # noqa: E402
    from grace_dl.torch.memory.residual import ResidualMemory  # noqa: E402

    pairs += [
        ("GRACE, onebit", "one-bit", grace(onebit.OneBitCompressor(), ResidualMemory())),
        ("GRACE, efsignsgd", "ef-sign", grace(efsignsgd.EFSignSGDCompressor(1), ResidualMemory())),
        ("GRACE, qsgd, 7 levels", "qsgd", grace(qsgd.QSGDCompressor(7))),
        ("GRACE, qsgd, 127 levels", "qsgd:levels=127", grace(qsgd.QSGDCompressor(127))),
        ("GRACE, terngrad", "terngrad", grace(terngrad.TernGradCompressor())),
        ("GRACE, topk 1/100", "chunk-top-k:k=1/100", grace(topk.TopKCompressor(0.01), ResidualMemory())),
    ]


def own(specification):
    """Values a second of Morse's encoding and decoding, and its bits per value."""
    text = subprocess.run(
        [bench, "codecs", "--codec", specification, "--count", str(options.count), "--iterations", "3", "--json"],
        check=True, capture_output=True, text=True).stdout
    rows = {row["operation"]: row for row in map(json.loads, text.splitlines()) if row.get("bench") == "codecs"}
    return rows["encode"]["valuesPerSecond"], rows["decode-set"]["valuesPerSecond"], rows["encode"]["bitsPerValue"]


def seconds(body):
    """How long something takes, and what it gives."""
    start = time.perf_counter()
    result = body()
    return time.perf_counter() - start, result


def bits(code):
    """The bits of all tensors and numbers of a code."""
    if isinstance(code, torch.Tensor):
        return 8 * code.numel() * code.element_size()
    if isinstance(code, (tuple, list)) and not isinstance(code, torch.Size):
        return sum(map(bits, code))
    return 0


print(f"{options.count} values, one thread, PyTorch {torch.__version__}; 10⁹ values/s, medians of {options.turns} turns\n")
print(f"{'peer':28}{'Morse':34}{'encode':>14}{'decode':>16}{'bits/value':>16}{'encode':>9}{'decode':>9}")
values = torch.randn(options.count)
for name, specification, peer in pairs:
    mine, theirs = [], []
    with torch.no_grad():
        peer.encode(values)
        for _ in range(options.turns):
            mine.append(own(specification))
            encoding, code = seconds(lambda: peer.encode(values))
            decoding, _ = seconds(lambda: peer.decode(code))
            theirs.append((options.count / encoding, options.count / decoding, bits(code) / options.count))
    (e1, d1, b1), (e2, d2, b2) = ([statistics.median(column) for column in zip(*rows)] for rows in (mine, theirs))
    print(
        f"{name:28}{specification:34}{e1 / 1e9:7.2f}{e2 / 1e9:7.3f}{d1 / 1e9:9.2f}{d2 / 1e9:7.3f}{b1:9.2f}{b2:7.2f}{e1 / e2:9.1f}{d1 / d2:9.1f}",
        flush=True)

"""Runs a program as one rank of a job: ``mpirun -np 4 python -m morse train.py …``.

The program runs as by ``python train.py …``. If it ends with an exception or with a status other than 0 on one rank, all
ranks end with that status at once instead of waiting for this one.
"""

from __future__ import annotations

import os
import runpy
import sys

from . import _ending, _world


def main() -> None:
    """Runs the program of the command line."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: mpirun -np RANKS python -m morse [-m MODULE | PROGRAM] [ARGUMENTS]", file=sys.stderr)
        raise SystemExit(0 if arguments else 64)
    try:
        if arguments[0] == "-m":
            if len(arguments) < 2:
                print("morse: -m needs the name of a module", file=sys.stderr)
                raise SystemExit(64)
            sys.argv = arguments[1:]
            sys.path.insert(0, os.getcwd())
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            if not os.path.exists(arguments[0]):
                print(f"morse: there is no program {arguments[0]}", file=sys.stderr)
                raise SystemExit(66)
            sys.argv = arguments
            sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as error:
        if error.code is None or error.code == 0 or not _world.is_initialized():
            raise
        if not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
        _ending.abort(error.code if isinstance(error.code, int) else 1)


if __name__ == "__main__":
    main()

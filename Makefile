# Two commands: `make run` trains on 8 ranks on this machine, `make test` is the whole gate. The others are their parts, but
# for `cluster-test`, `slurm-test`, `fault-test`, `test-sanitizers` and `mutants`, which take long or need a machine of their own.

SHELL := /bin/bash
RANKS ?= 8
# Where the torch of make python-test comes from: debian or pypi.
TORCH ?= debian
# Options of the run: make run ARGUMENTS="--epochs 1 --codec none"
ARGUMENTS ?=

.PHONY: library wheel python-test python-test-built run test install install-python build build-tests lint arrows test-plain test-ranks examples documentation docs-check format clean cluster-test slurm-test fault-test test-sanitizers mutants

run: install
	swift build --configuration release --product train
	source scripts/environment.sh && mpirun -np $(RANKS) .build/release/train $(ARGUMENTS)

# One after another, the quick checks first, whatever -j says.
test:
	@scripts/gate install lint arrows build-tests+install-python test-plain+python-test-built test-2+test-3 test-4+examples+documentation+docs-check test-8

install:
	scripts/install-dependencies

# What the tests of the Python package need: torch takes longer to fetch than to use.
install-python:
	scripts/install-dependencies python

build: install
	scripts/build

build-tests:
	scripts/build --build-tests

lint:
	swift format lint --strict --recursive --parallel Package.swift Sources Tests examples

format:
	swift format --in-place --recursive --parallel Package.swift Sources Tests examples

arrows:
	scripts/check-arrows
	scripts/check-circles

# Everything on one rank, without mpirun.
test-plain:
	scripts/test-plain

# What needs ranks, on each number of them.
test-ranks: test-2 test-3 test-4 test-8

.NOTPARALLEL:
test-%:
	scripts/test-ranks $*

examples:
	scripts/run-examples

documentation:
	scripts/build-documentation

# Runs the commands that README and docs show, and follows their links.
docs-check:
	scripts/docs-check

# A build of its own; not part of the gate, because it takes as long as the rest of it.
test-sanitizers: install
	scripts/test-sanitizers

# Hosts on this machine, as root; not part of the gate, because not every machine can make them.
cluster-test: install
	scripts/install-dependencies cluster
	scripts/cluster check
	swift build --configuration release --product train
	scripts/cluster-test

# A real Slurm on such hosts.
slurm-test: install
	scripts/install-dependencies cluster slurm
	swift build --configuration release --product train
	scripts/slurm-test

# Every strategy meets every fault in every phase; not part of the gate, which has a part of it, because it takes long.
fault-test: build-tests
	scripts/fault-table

# Shows that the tests notice laws that are broken on purpose (Tests/mutants.txt); an hour, not part of the gate.
mutants: install
	scripts/mutants

# libmorse.so, for programs in C and Python.
library: install
	scripts/build-library

# One wheel for every Python 3 on machines like this one.
wheel: library
	scripts/build-wheel

# The Python package on 1, 2 and 3 ranks, with Debian's torch; TORCH=pypi takes the newest one of pip.
python-test: install
	TORCH=$(TORCH) scripts/python-test

# The same with the library that the build for the tests has made.
python-test-built:
	MORSE_LIBRARY=$(CURDIR)/.build/release/libmorse.so scripts/python-test

clean:
	swift package clean

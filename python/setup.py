"""Puts the shared library into the package: the one of MORSE_PREBUILT, or one that Swift builds now."""

import os
import pathlib
import shutil
import subprocess
import sys

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:
    from wheel.bdist_wheel import bdist_wheel

ROOT = pathlib.Path(__file__).resolve().parent.parent


def library() -> pathlib.Path:
    """The library to be packed."""
    given = os.environ.get("MORSE_PREBUILT")
    if given:
        path = pathlib.Path(given)
        if not path.is_file():
            sys.exit(f"morse: MORSE_PREBUILT={given} is no file; it is the path of a libmorse.so")
        return path
    script = ROOT / "scripts" / "build-library"
    if not script.exists() or shutil.which("swift") is None:
        sys.exit(
            "morse: the library is built by Swift 6.2 or later, which is not here, or this is not the whole repository; install "
            "Swift, or set MORSE_PREBUILT to a libmorse.so that scripts/build-library made elsewhere")
    subprocess.run([str(script)], check=True)
    return ROOT / ".build-library" / "libmorse.so"


class BuildWithLibrary(build_py):
    """Copies the library beside the modules."""

    def run(self) -> None:
        super().run()
        destination = pathlib.Path(self.build_lib) / "morse" / "libmorse.so"
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library(), destination)


class AnyPython(bdist_wheel):
    """A wheel for every Python 3 on this kind of machine: nothing in it is compiled against Python."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self):
        _, _, platform = super().get_tag()
        return "py3", "none", platform


class WithLibrary(Distribution):
    """A distribution with a library of the machine."""

    def has_ext_modules(self) -> bool:
        return True


setup(cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": AnyPython}, distclass=WithLibrary)

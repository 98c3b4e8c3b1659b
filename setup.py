"""Builds what pyproject.toml cannot say: the native part and the program, by the Makefile, and the version, which stands in cairn.h."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent


def read_version() -> str:
    """The version that cairn.h tells."""
    match = re.search(r'define CAIRN_VERSION_STRING "(.+)"', (HERE / "include/cairn.h").read_text())
    assert match, "include/cairn.h holds no version"
    return match[1]


class BuildByMake(build_ext):
    """Has the Makefile compile, in a folder of its own, and puts the results where setuptools wants them."""

    def build_extension(self, extension: Extension) -> None:
        """Build the module and, beside it, the program. A warning of an unknown compiler is no reason to stop."""
        build = Path(self.build_temp).resolve() / "make"
        module, program = build / "python/cairn/_native.abi3.so", build / "cairn"
        make = ["make", f"BUILD={build}", f"PYTHON={sys.executable}", "WARN=-Wall"]
        subprocess.run([*make, str(module), str(program)], cwd=HERE, check=True)
        target = Path(self.get_ext_fullpath(extension.name))
        (target.parent / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy2(module, target)
        shutil.copy2(program, target.parent / "bin/cairn")


setup(
    version=read_version(),
    ext_modules=[Extension("cairn._native", sources=[], py_limited_api=True)],
    cmdclass={"build_ext": BuildByMake},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)

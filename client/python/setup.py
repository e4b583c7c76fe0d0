"""What pyproject.toml cannot say: the stubs are made from the protos when the
package is built, from a checkout."""

import pathlib
import sys

from setuptools import setup
from setuptools.command.build_py import build_py

_HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE))

from make_stubs import make_stubs  # noqa: E402


class BuildWithStubs(build_py):

    def run(self):
        super().run()
        folder = _HERE if self.editable_mode else pathlib.Path(self.build_lib)
        make_stubs(_HERE.parent.parent / "proto", folder)


setup(cmdclass={"build_py": BuildWithStubs})

#!/usr/bin/python3
"""make_stubs.py PROTO FOLDER: makes the package waitq.v1 into FOLDER/waitq/v1.

PROTO is the folder that has waitq/v1/*.proto. Needs protoc and
grpc_python_plugin: Debian's protobuf-compiler and protobuf-compiler-grpc. (Not
python3-grpc-tools: its protoc is 3.5 and does not know proto3's `optional`.)
"""

import pathlib
import shutil
import subprocess
import sys


def make_stubs(proto: pathlib.Path, folder: pathlib.Path) -> None:
    """RuntimeError: what is missing."""
    files = sorted(str(file) for file in proto.glob("waitq/v1/*.proto"))
    if not files:
        raise RuntimeError(f"no waitq/v1/*.proto in {proto}")
    plugin = shutil.which("grpc_python_plugin")
    if shutil.which("protoc") is None or plugin is None:
        raise RuntimeError("protoc and grpc_python_plugin are needed: Debian's "
                           "protobuf-compiler and protobuf-compiler-grpc")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["protoc", "-I", str(proto), f"--plugin=protoc-gen-grpc={plugin}",
         f"--python_out={folder}", f"--pyi_out={folder}",
         f"--grpc_out={folder}", *files], check=True)
    init = folder / "waitq" / "v1" / "__init__.py"
    init.write_text('"""Made from waitq\'s protos."""\n')


if __name__ == "__main__":
    make_stubs(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))

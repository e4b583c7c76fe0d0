"""Where the examples find the code that generate.sh made.

In `examples/generated`, or where the environment variable WAITQ_PYTHON says.
"""

import os
import sys

_HERE = os.path.dirname(os.path.realpath(__file__))
_FOLDER = os.environ.get("WAITQ_PYTHON", os.path.join(_HERE, "generated"))
if not os.path.isdir(_FOLDER):
    sys.exit(f"{_FOLDER} is not there: run {_HERE}/generate.sh first")
sys.path.insert(0, _FOLDER)

SERVER = os.environ.get("WAITQ_SERVER", "127.0.0.1:7411")

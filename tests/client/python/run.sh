#!/bin/bash
# run.sh ROOM CASES: runs the cases of a room (main.py) with the Python client
# against the built waitqd, and fails unless all of at least CASES cases have
# passed. `install` does so with the client as pip installs it from a checkout.
# Without Debian's Python packages it passes, with a line "SKIPPED: why", which
# .ci/run counts.
set -euo pipefail

room=$1 expected=$2
here=$PWD/tests/client/python
export WAITQD=$PWD/server/waitqd README=$PWD/client/python/README.md
export PROJECT_README=$PWD/README.md
python=/usr/bin/python3

skip() {
  echo "SKIPPED: $*"
  exit 0
}

"$python" -c 'import sys, grpc; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
  skip "no python3-grpcio for a Python of 3.10 or later"
[[ -x /usr/bin/grpc_python_plugin ]] || skip "no protobuf-compiler-grpc"

if [[ $room == install ]]; then
  "$python" -c 'import venv, ensurepip, setuptools, wheel' 2>/dev/null ||
    skip "no python3-venv, python3-setuptools or python3-wheel"
  # As in a checkout: pip writes beside the sources.
  checkout=$TEST_TMPDIR/checkout
  mkdir -p "$checkout/client"
  cp -RL proto "$checkout/proto"
  cp -RL client/python "$checkout/client/python"
  "$python" -m venv --system-site-packages "$TEST_TMPDIR/V"
  (
    cd "$checkout"
    "$TEST_TMPDIR/V/bin/pip" install --no-index --disable-pip-version-check \
      --no-build-isolation ./client/python
  )
  python=$TEST_TMPDIR/V/bin/python
else
  export PYTHONPATH=$TEST_TMPDIR/site
  mkdir -p "$PYTHONPATH"
  cp -RL client/python/waitq "$PYTHONPATH/waitq"
  "$python" -B client/python/make_stubs.py proto "$PYTHONPATH"
fi

"$python" -B "$here/main.py" "$room" 2>&1 | tee "$TEST_TMPDIR/output"
cases=$(sed -n 's/^CASES //p' "$TEST_TMPDIR/output")
if [[ ${cases:-0} -lt $expected ]]; then
  echo "run.sh: ${cases:-no} cases, $expected expected" >&2
  exit 1
fi

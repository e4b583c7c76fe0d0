#!/bin/bash
# run.sh LANGUAGE CASES: generates what the language needs from the published
# protos, runs its program against the built waitqd, and fails unless all of at
# least CASES cases have passed. Without the runtime of the language it passes,
# with a line "SKIPPED: why", which .ci/run counts.
set -euo pipefail

language=$1 expected=$2
here=$PWD/tests/foreign
export WAITQD=$PWD/server/waitqd
generated=$TEST_TMPDIR/generated

skip() {
  echo "SKIPPED: $*"
  exit 0
}

# Each file from its own folder: under its own path, Python would look for it in
# the packages `grpc` and `google`.
generate_python() {
  local folder file
  mkdir -p "$generated"
  for file in "$@"; do
    folder=$(dirname "$file")
    if [[ $file == proto/waitq/* ]]; then folder=proto; fi
    protoc -I "$folder" --plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin \
      --python_out="$generated" --grpc_out="$generated" "$file"
  done
}

case $language in
  python)
    /usr/bin/python3 -c 'import grpc' 2>/dev/null || skip "no python3-grpcio"
    [[ -x /usr/bin/grpc_python_plugin ]] || skip "no protobuf-compiler-grpc"
    [[ -d /usr/share/grpc-proto ]] || skip "no grpc-proto"
    generate_python proto/waitq/v1/*.proto proto/google/rpc/*.proto \
      /usr/share/grpc-proto/grpc/health/v1/health.proto \
      /usr/share/grpc-proto/grpc/reflection/v1alpha/reflection.proto
    export PYTHONPATH=$generated
    program=(/usr/bin/python3 -B "$here/python_client.py")
    ;;
  node)
    # Written by bazelw: the program, and the folder of the packages.
    path=$here/node_modules.path
    { read -r node && read -r modules; } 2>/dev/null <"$path" ||
      skip "no node, or its packages could not be installed; ./bazelw does it"
    [[ -x $node && -d $modules ]] || skip "$node or $modules is not there"
    [[ -d /usr/share/grpc-proto ]] || skip "no grpc-proto"
    export NODE_PATH=$modules
    program=("$node" "$here/node_client.js")
    ;;
  *)
    echo "run.sh: no such language: $language" >&2
    exit 2
    ;;
esac

"${program[@]}" 2>&1 | tee "$TEST_TMPDIR/output"
cases=$(sed -n 's/^CASES //p' "$TEST_TMPDIR/output")
if [[ ${cases:-0} -lt $expected ]]; then
  echo "run.sh: ${cases:-no} cases, $expected expected" >&2
  exit 1
fi

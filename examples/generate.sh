#!/bin/bash
# examples/generate.sh [FOLDER]: makes the Python code of waitq's services, and of
# gRPC's reflection service, into FOLDER (examples/generated if none is named).
#
# Debian's packages: protobuf-compiler protobuf-compiler-grpc; to run the
# examples python3-grpcio; for reflect.py grpc-proto. (Not python3-grpc-tools: its
# protoc is 3.5 and does not know proto3's `optional`.)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
protos=$here/../proto
folder=${1:-$here/generated}
reflection=/usr/share/grpc-proto/grpc/reflection/v1alpha

generate() {
  protoc --plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin \
    --python_out="$folder" --grpc_python_out="$folder" "$@"
}

mkdir -p "$folder"
generate -I "$protos" "$protos"/waitq/v1/*.proto
# Not under its own path: Python would look for it in the package `grpc`.
if [[ -e $reflection/reflection.proto ]]; then
  generate -I "$reflection" "$reflection/reflection.proto"
fi

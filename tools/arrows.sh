#!/bin/bash
# Checks that dependencies point only where docs/architecture.md lets them:
# server/rpc -> server/engine -> core -> abseil; server/rpc and client ->
# transport and proto; client/cli and load -> client (load's unary calls: proto).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

protobuf='(//third_party/protobuf/... + @com_google_protobuf//:all)'
grpc='(//third_party/grpc/... + @com_github_grpc_grpc//:all)'
wire="($protobuf + $grpc + //proto/... + //transport/...)"

# from | to: no path may lead from a target of the one to a target of the other.
# Visibility forbids most of this too; but visibility can be widened by mistake.
forbidden_paths="
//core/...           | (//... except //core/... except //third_party/absl/...) + $wire
//server/engine/...  | //server/rpc/... + //client/... + $wire
//server/engine/...  | //server:all
//server/rpc/...     | //client/...
//transport/...      | //server/... + //client/... + //core/...
//client/...         | //server/... + //load/...
//load:waitq-load    | //server/... + //core/...
//proto/...          | //... except //proto/... except //third_party/...
//... except //tests/... | //tests/...
"

# folder | pattern: system headers are visible to every compilation, so Bazel
# cannot see that a file includes one without depending on its library.
forbidden_includes='
core           | (grpc|grpcpp|google|waitq|spdlog|CLI|fmt)/
server/engine  | (grpc|grpcpp|google|waitq|CLI)/
transport      | (CLI)/
'

failed=0
errors=$(mktemp) || exit 1
trap 'rm -f "$errors"' EXIT
trim() { sed 's/^[[:space:]]*//; s/[[:space:]]*$//' <<<"$1"; }

while IFS='|' read -r from to; do
  from=$(trim "$from") to=$(trim "$to")
  if [[ -z $from ]]; then continue; fi
  # The query exits 0 whether there is a path or not; anything else means that
  # it could not be answered, which is no better than a path.
  if ! path=$(./bazelw query --noshow_progress "somepath($from, $to)" 2>"$errors"); then
    echo "arrows: the query from $from failed:" >&2
    cat "$errors" >&2
    failed=1
  elif [[ -n $path ]]; then
    echo "arrows: $from must not depend on: $to" >&2
    echo "  ${path//$'\n'/ -> }" >&2
    failed=1
  fi
done <<<"$forbidden_paths"

while IFS='|' read -r folder pattern; do
  # Only the first | separates; the pattern has its own.
  folder=$(trim "$folder") pattern=$(trim "$pattern")
  if [[ -z $folder ]]; then continue; fi
  grep -rnE --include='*.h' --include='*.cc' \
    "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]$pattern" "$folder" >&2
  case $? in
    0)
      echo "arrows: $folder must not include these" >&2
      failed=1
      ;;
    1) ;;
    *) failed=1 ;; # grep could not read: not the same as nothing found
  esac
done <<<"$forbidden_includes"

if [[ $failed -eq 0 ]]; then echo "arrows: ok"; fi
exit $failed

#!/bin/bash
# tools/format.sh          formats every C++ and proto file that git does not ignore
# tools/format.sh --check  changes nothing; names what is not formatted, exit 1
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1-} in
  "") mode=(-i) ;;
  --check) mode=(--dry-run --Werror) ;;
  *)
    echo "usage: tools/format.sh [--check]" >&2
    exit 2
    ;;
esac

# Another version would format otherwise, so it must be this one.
if ! command -v clang-format-14 >/dev/null; then
  echo "format.sh: clang-format-14 is missing; WAITQ_PACKAGES=ci ./bazelw installs it" >&2
  exit 3
fi

# Tracked and new files; a tracked file may have been deleted.
files=()
while IFS= read -r -d '' file; do
  if [[ -f $file ]]; then files+=("$file"); fi
done < <(git ls-files -z --cached --others --exclude-standard -- '*.cc' '*.h' '*.proto')

if [[ ${#files[@]} -eq 0 ]]; then
  echo "format.sh: no files found" >&2
  exit 1
fi
printf '%s\0' "${files[@]}" | xargs -0 clang-format-14 --style=file "${mode[@]}" || exit 1

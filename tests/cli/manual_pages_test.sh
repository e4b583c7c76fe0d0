#!/bin/bash
# Every page is a page: troff has nothing to say against it, and it has what a
# reader looks for.
set -euo pipefail

failed=0
for page in "$@"; do
  warnings=$(groff -man -Tutf8 -ww -z "$page" 2>&1)
  if [[ -n $warnings ]]; then
    echo "$page: $warnings"
    failed=1
  fi
  text=$(groff -man -Tutf8 -P -cbou "$page")
  for heading in NAME SYNOPSIS DESCRIPTION OPTIONS "SEE ALSO"; do
    if ! grep -q "^$heading" <<<"$text"; then
      echo "$page: no $heading"
      failed=1
    fi
  done
done
exit $failed

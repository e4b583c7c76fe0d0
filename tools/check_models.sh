#!/bin/bash
# Checks the models in docs/models with spin: each scene must hold in every
# interleaving, and each mutation, which takes one rule out, must be found, by
# the property that it breaks. Scenes and mutations side by side, two minutes on
# two busy cores. Exit 1 if anything is otherwise.
#
# tools/check_models.sh            all
# tools/check_models.sh PATTERN    only lines that match PATTERN (grep -E); no
#                                  look at what was not reached
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
models=$PWD/docs/models
pattern=${1-}

# model | options
scenes='
sleep_wake | SCENE_FLAG
sleep_wake | SCENE_FLAG PLAIN_WAKE_UP NO_FENCE_WAKER NO_FENCE_SLEEPER NO_SIGNAL
sleep_wake | SCENE_FLAG DIRECT_WAKE NO_TIMER
sleep_wake | SCENE_ONE
sleep_wake | SCENE_ONE SLEEPERS=3 NO_TIMER
sleep_wake | SCENE_TWO
handoff    | SCENE_EVENTS
handoff    | SCENE_REMOVE
handoff    | SCENE_DRAIN
'

# model | options | the assertion that must fail (grep -E)
mutations='
sleep_wake | SCENE_FLAG NO_FENCE_WAKER              | lost_wake_up
sleep_wake | SCENE_FLAG NO_FENCE_SLEEPER NO_TIMER NO_SIGNAL | lost_wake_up
sleep_wake | SCENE_FLAG DIRECT_WAKE NO_FENCE_WAKER NO_TIMER | lost_wake_up
sleep_wake | SCENE_FLAG NO_FENCE_SENDER             | lost_signal
sleep_wake | SCENE_FLAG NO_SIGNAL_TEST_IN_SCHEDULE  | lost_signal
sleep_wake | SCENE_FLAG NO_CAS                      | lost_wake_up
sleep_wake | SCENE_FLAG PARK_BY_STORE               | lost_wake_up
sleep_wake | SCENE_FLAG NO_CANCEL_SYNC              | timer_frame
sleep_wake | SCENE_FLAG UNLINK_BEFORE_WAKE          | frame\[entry\]
sleep_wake | SCENE_FLAG LINK_BEFORE_NEIGHBOURS      | frame\[entry\]
sleep_wake | SCENE_FLAG FINISH_TRUSTS_STATE         | linked
sleep_wake | SCENE_FLAG LEAVE_QUEUED_ON_SIGNAL      | linked
sleep_wake | SCENE_ONE NO_UNLINK_ON_SIGNAL          | lost_wake_up
sleep_wake | SCENE_ONE NO_TEST_WHILE_RUNNING        | lost_wake_up
sleep_wake | SCENE_TWO NO_PASS_ON                   | lost_wake_up
handoff    | SCENE_EVENTS NO_CLAIM                  | ended
handoff    | SCENE_EVENTS LOOK_BEFORE_LOCK          | running
handoff    | SCENE_EVENTS NO_TIMER_REF              | refs
handoff    | SCENE_EVENTS NO_DROP_ON_CANCEL         | kept
handoff    | SCENE_EVENTS TEST_BEFORE_LOCK          | lost_wake_up
handoff    | SCENE_EVENTS ACT_AFTER_WALK            | word *>=
handoff    | SCENE_EVENTS DELIVER_UNDER_LOCK        | mu *!= *_pid
handoff    | SCENE_REMOVE NO_UNLINK                 | in_line
handoff    | SCENE_REMOVE FALSE_USES_NR             | lost_wake_up
handoff    | SCENE_DRAIN NO_TEST_ON_EVENT           | how.*word
handoff    | SCENE_DRAIN TEST_ON_CALLER_GONE        | given_to_gone
'

for program in spin gcc; do
  if ! command -v "$program" >/dev/null; then
    echo "models: $program is not installed" >&2
    exit 1
  fi
done

failed=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

trim() { sed 's/^[[:space:]]*//; s/[[:space:]]*$//' <<<"$1"; }

fail() {
  echo "models: FAILED: $1" >&2
  failed=1
}

# matching LINES: those that match PATTERN, their fields trimmed.
matching() {
  local model options expected
  while IFS='|' read -r model options expected; do
    model=$(trim "$model") options=$(trim "$options")
    if [[ -z $model ]] || ! grep -qE -- "$pattern" <<<"$model $options"; then continue; fi
    echo "$model|$options|$(trim "$expected")"
  done <<<"$1"
}

# run MODEL "OPTIONS" OPTIMIZATION: leaves pan and its report, `out`, in an
# otherwise empty folder, the current one.
run() {
  local model=$1 option
  local -a defines=()
  for option in $2; do defines+=("-D$option"); done
  rm -f ./*
  if ! spin -a "${defines[@]}" "$models/$model.pml" >spin.out 2>&1; then
    cat spin.out >&2
    return 1
  fi
  # Only the search for bad states: the properties are assertions and deadlock.
  if ! gcc "$3" -w -DSAFETY -DCOLLAPSE -DMEMLIM=1900 -o pan pan.c; then
    return 1
  fi
  ./pan -m10000 >out 2>&1
}

# The numbers that pan reports.
states() { sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' out; }
depth() { sed -n 's/.*depth reached \([0-9]*\),.*/\1/p' out; }
megabytes() { sed -n 's/^ *\([0-9]*\)[.0-9]*[[:space:]]*total actual memory.*/\1/p' out; }

# For each line of the model that does something: whether this run reached it,
# in any process. One inline is expanded in many places, some of them with
# arguments for which parts of it are dead.
reached() {
  awk '
    FNR == NR {
      if ($1 == "unreached") where = $NF
      else if (match($0, /state [0-9]+,/)) {
        split(substr($0, RSTART), word, /[ ,]/)
        dead[where, word[2]] = 1
      }
      next
    }
    $1 == "STEP" { where = $3; next }
    $1 == "state" && match($0, /[^ ]*\.pml:[0-9]+ => .*/) {
      rest = substr($0, RSTART)
      what = rest
      sub(/^[^>]*> /, "", what)
      if (what ~ /^(\.?\(?goto|-end-|break|else$|\(1\)$)/) next
      match(rest, /:[0-9]+ /)
      line = substr(rest, RSTART + 1, RLENGTH - 2)
      if (!((where, $2) in dead)) print line, 1
      else print line, 0
    }' <(grep -vE "else\"$" out) <(./pan -d -d)
}

check_scenes() {
  local model options from line was_reached all_reached place
  local -A seen=()
  while IFS='|' read -r model options _; do
    from=$EPOCHREALTIME
    if ! run "$model" "$options" -O1; then
      fail "$model $options: did not run"
      continue
    fi
    printf '%-10s %-71s %8d states, depth %d, %d MB, %.1f s\n' "$model" \
      "$options" "$(states)" "$(depth)" "$(megabytes)" \
      "$(awk "BEGIN { print $EPOCHREALTIME - $from }")"
    if ! grep -q 'errors: 0' out; then
      grep -E '^pan:1' out >&2
      fail "$model $options: should hold"
    # Also what pan says when depth or memory did not suffice.
    elif grep -qE 'not completed|too small|out of memory|MEMLIM' out; then
      fail "$model $options: not searched to the end"
    fi
    while read -r line was_reached; do
      if [[ $was_reached -eq 1 || -z ${seen[$model:$line]-} ]]; then
        seen[$model:$line]=$was_reached
      fi
    done < <(reached | sort -u)
  done < <(matching "$scenes")

  # A property of a line that no scene comes to is checked by nobody.
  if [[ -z $pattern ]]; then
    all_reached=1
    for place in "${!seen[@]}"; do
      if [[ ${seen[$place]} -eq 0 ]]; then
        all_reached=0
        sed -n "${place#*:}p" "$models/${place%:*}.pml" >&2
        fail "${place%:*}.pml:${place#*:} is not reached in any scene"
      fi
    done
    if [[ ${#seen[@]} -eq 0 ]]; then
      fail "no line was looked at"
    elif [[ $all_reached -eq 1 ]]; then
      echo "all ${#seen[@]} lines that do something are reached in some scene"
    fi
  fi
}

check_mutations() {
  local model options expected error
  while IFS='|' read -r model options expected; do
    if ! run "$model" "$options" -O0; then
      fail "$model $options: did not run"
      continue
    fi
    error=$(sed -n 's/^pan:1: //p' out)
    if [[ -z $error ]]; then
      fail "$model $options: the mutation was not found"
    elif ! grep -qE "^assertion violated .*($expected)" <<<"$error"; then
      fail "$model $options: found by something else: $error"
    else
      printf '%-10s %-53s found: %s\n' "$model" "$options" "$error"
    fi
  done < <(matching "$mutations")
}

began=$SECONDS
if [[ -z $(matching "$scenes$mutations") ]]; then fail "nothing matches $pattern"; fi
mkdir "$work/scenes" "$work/mutations"
(
  cd "$work/mutations" || exit 1
  check_mutations
  exit "$failed"
) >"$work/mutations.log" 2>&1 &
mutations_pid=$! # now: what comes sets $! again
cd "$work/scenes" || exit 1
check_scenes
wait "$mutations_pid" || failed=1
cat "$work/mutations.log"

if [[ $failed -eq 0 ]]; then echo "models: ok, $((SECONDS - began)) s"; fi
exit $failed

#!/bin/bash
# tools/fresh_machine.sh [FOLDER]: proves that README's two commands work on a bare
# Debian 12. As root, it makes a minimal machine (in FOLDER, default $TMPDIR or
# /tmp), copies HEAD into it, runs the commands there and throws it away again.
# The last line is "fresh machine: ok" or says what failed. Takes some minutes,
# about 3 GB of disk, and whatever apt downloads.
set -euo pipefail

suite=bookworm
commands=('./bazelw run //:demo' './bazelw test //...')
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The host's apt settings, if it is a Debian of the same suite: mirrors, keys,
# proxies. On another host the machine keeps what debootstrap gives it.
configure_apt() {
  local root=$1 file
  cp -L /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null || true
  apt-config dump 2>/dev/null |
    grep -E '^Acquire::(http|https|ftp|ForceIPv[46]|Retries)\b' \
      >"$root/etc/apt/apt.conf.d/99host" || true
  if ! grep -qs "^VERSION_CODENAME=$suite\$" /etc/os-release; then return; fi
  rm -f "$root/etc/apt/sources.list"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} \
    /etc/apt/trusted.gpg.d/* /etc/apt/keyrings/* /usr/share/keyrings/*; do
    if [[ -f $file ]]; then install -D -m 644 "$file" "$root$file"; fi
  done
}

# The mirror that the host uses for this suite; empty: debootstrap's own choice.
mirror() {
  # shellcheck disable=SC2016 # $(...) is for apt-get to expand
  apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk -v suite=$suite '$1 == suite && $2 ~ /^https?:/ { print $2; exit }' || true
}

# In namespaces of its own: mounts and processes end with it, whatever happens.
inside() {
  local work=$1 command log status failed=()
  local root=$work/root
  trap 'exit 130' INT TERM # it is process 1, which signals do not end otherwise
  mount --bind /proc "$root/proc"
  mount --bind /dev "$root/dev"
  for command in "${commands[@]}"; do
    log=$work/log status=0
    echo "== $command"
    SECONDS=0
    chroot "$root" env -i HOME=/root TERM=dumb LANG=C.UTF-8 \
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
      ${no_proxy:+no_proxy="$no_proxy"} \
      bash -c "cd /root/waitq && $command" </dev/null >"$log" 2>&1 || status=$?
    tail -n 15 "$log"
    echo "== exit code $status after $SECONDS s: $command"
    if [[ $status -ne 0 ]]; then failed+=("$command (exit $status)"); fi
  done
  if [[ ${#failed[@]} -gt 0 ]]; then
    printf '%s\n' "${failed[@]}" >"$work/failed"
    exit 1
  fi
}

if [[ ${1-} == --inside ]]; then # the call of itself below
  inside "$2"
  exit
fi

if [[ $EUID -ne 0 ]]; then
  echo "fresh machine: must run as root (it mounts)"
  exit 2
fi

result='failed before the first command'
work=
finish() {
  if [[ -n $work ]]; then
    if [[ -s $work/failed ]]; then result="failed: $(paste -sd, "$work/failed")"; fi
    # The mounts were private to the namespace; the guard costs nothing.
    rm -rf --one-file-system "$work"
  fi
  echo "fresh machine: $result"
}
trap finish EXIT
trap 'result=interrupted; exit 130' INT TERM

if ! command -v debootstrap >/dev/null; then
  echo "== installing debootstrap"
  apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y)
  "${apt[@]}" install --no-install-recommends debootstrap ||
    { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends debootstrap; }
fi

work=$(mktemp -d "${1:-${TMPDIR:-/tmp}}/fresh_machine.XXXXXX")
chmod 755 "$work"
url=$(mirror)
eval "$(apt-config shell http_proxy Acquire::http::Proxy 2>/dev/null || true)"
export http_proxy=${http_proxy-}
include=()
if [[ $url == https:* ]]; then include=(--include=ca-certificates); fi

echo "== debootstrap $suite"
debootstrap --variant=minbase "${include[@]}" $suite "$work/root" ${url:+"$url"} \
  >"$work/log" 2>&1 || {
  tail -n 15 "$work/log"
  result='debootstrap failed'
  exit 1
}
configure_apt "$work/root"
mkdir "$work/root/root/waitq"
# safe.directory: the checkout may belong to somebody else than root.
git -C "$repo" -c safe.directory="$repo" archive HEAD | tar -x -C "$work/root/root/waitq"

result=failed
unshare --mount --pid --fork --kill-child --mount-proc \
  bash "${BASH_SOURCE[0]}" --inside "$work"
result=ok

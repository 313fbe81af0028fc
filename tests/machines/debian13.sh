#!/usr/bin/env bash
# Runs the demo and every test of HEAD on Debian 13 (GCC 14, newer libraries), in a chroot:
#   tests/machines/debian13.sh [DIRECTORY]    its root; build/machines/debian13 unless named
# The first run installs Debian there, from the mirror that apt uses on this machine: 2.5 GB, and
# half an hour on two cores, most of it to build. A later run builds only what changed since.
set -euo pipefail

release=trixie
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
root=$(realpath -m "${1:-$source/build/machines/debian13}")

say() { printf 'debian13: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# The mirror and how to reach it (proxy, checks of dates) are this machine's.
make_root() {
  local mirror options
  mirror=$(apt-get indextargets --format '$(REPO_URI)' \
    'Identifier: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
  [ -n "$mirror" ] || fail "apt knows no mirror of Debian here; try again after apt-get update"
  mapfile -t options < <(apt-config dump | grep -E '^Acquire::(http|https|Check-[^:]*|Retries)\b' |
    sed 's/^/--aptopt=/')
  say "installing Debian 13 from $mirror into $root"
  rm -rf --one-file-system "$root.part"
  mkdir -p "$(dirname "$root")"
  mmdebstrap --mode=root --variant=minbase "${options[@]}" "$release" "$root.part" "$mirror"
  mv -T "$root.part" "$root"
}

# HEAD as a clone has it, without anything that git ignores, except what was built.
copy_head() {
  local copy=$root/moebius
  git init -q "$copy"
  git -C "$copy" fetch -q "$source" HEAD
  git -C "$copy" checkout -q --force --detach FETCH_HEAD
  git -C "$copy" clean -q -ffdx -e /build
}

# Mounts are made in a namespace of their own, which ends with the command, however that ends.
in_root() {  # COMMAND...
  # Warnings are errors from the first build on, or .ci/run would build everything again.
  LC_ALL=C.UTF-8 MOEBIUS_CMAKE_ARGS=-DMOEBIUS_WERROR=ON unshare --mount bash -euc '
    mount -t proc proc "$0/proc"
    mount --rbind /sys "$0/sys"
    mount --rbind /dev "$0/dev"
    exec chroot "$0" env -C /moebius "$@"' "$root" "$@"
}

[ "$(id -u)" = 0 ] || fail "needs root, for chroot and mounts"
grep -qs "^VERSION_CODENAME=$release" "$root/etc/os-release" || make_root
copy_head
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
in_root ./run demo --seconds 15
in_root .ci/run
say "passed: ./run demo and ./run test of $(git -C "$root/moebius" rev-parse --short HEAD) on" \
  "Debian $(cat "$root/etc/debian_version") with GCC $(in_root g++ -dumpfullversion)"

#!/usr/bin/env bash
# Builds the work tree for arm64 and runs the model tests and a short search there, emulated:
#   tests/machines/arm64.sh [DIRECTORY] [OPTIONS]    its root; build/machines/arm64 unless named
# Options go to GoogleTest, as in --gtest_filter='Cpu*'. The first run unpacks the libraries of this
# Debian for arm64, from the mirror that apt uses on this machine: 200 MB with what is built, and
# about forty minutes on two cores, most of it in the tests. A later run builds only what changed.
set -euo pipefail

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
root=$source/build/machines/arm64
case ${1:--} in
  -*) ;;
  *) root=$1; shift ;;
esac
root=$(realpath -m "$root")
build=$root/build
runs=$build/runs

say() { printf 'arm64: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# The mirror and how to reach it (proxy, checks of dates) are this machine's.
make_root() {
  local mirror options packages release
  mirror=$(apt-get indextargets --format '$(REPO_URI)' \
    'Identifier: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
  [ -n "$mirror" ] || fail "apt knows no mirror of Debian here; try again after apt-get update"
  mapfile -t options < <(apt-config dump | grep -E '^Acquire::(http|https|Check-[^:]*|Retries)\b' |
    sed 's/^/--aptopt=/')
  release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  packages=libc6-dev,$(grep -E -- '-dev$' "$source/packages.txt" | paste -s -d ,)
  say "unpacking libraries of Debian $release for arm64 from $mirror into $root"
  rm -rf --one-file-system "$root.part"
  mkdir -p "$(dirname "$root")"
  mmdebstrap --variant=extract --architectures=arm64 --include="$packages" "${options[@]}" \
    "$release" "$root.part" "$mirror"
  mv -T "$root.part" "$root"
  # The linker follows links on this machine, where an absolute one leads out of the root.
  find "$root/usr/lib" -type l -lname '/*' | while read -r link; do
    ln -sfr "$root$(readlink "$link")" "$link"
  done
}

emulate() { qemu-aarch64 -L "$root" "$@"; }

validation_loss() {  # COMMAND... -> the loss that training prints
  rm -rf "$runs/train"
  "$@" train glam-nano --data builtin --steps 20 --precision fp32 --no-weights --out "$runs/train" |
    sed -n 's/^validation loss \([0-9.]*\) .*/\1/p'
}

if [ ! -d "$root/usr" ]; then make_root; fi

mkdir -p "$build"
cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_TOOLCHAIN_FILE="$source/tests/machines/arm64.cmake" -DMOEBIUS_ARM64_ROOT="$root" \
  -DMOEBIUS_TESTS=ON -DMOEBIUS_BENCH=OFF >"$build/configure.log" 2>&1 ||
  { cat "$build/configure.log" >&2; fail "configuring failed"; }
cmake --build "$build" --target moebius model_tests >&2

rm -rf "$runs"
mkdir -p "$runs"
level=$(emulate "$build/moebius" doctor --db "$runs/results.db" | grep '^instruction level')
say "$level"
case $level in
  *' arm64; this machine offers arm64') ;;
  *) fail "the level is not arm64" ;;
esac

say "model tests, emulated"
shards=$(nproc)
export GTEST_TOTAL_SHARDS=$shards
seq 0 $((shards - 1)) | xargs -P "$shards" -I '{}' env GTEST_SHARD_INDEX='{}' \
  qemu-aarch64 -L "$root" "$build/tests/model_tests" --gtest_brief=1 "$@" >&2 ||
  fail "model tests failed"

say "a short search, emulated"
emulate "$build/moebius" search --space brainformer-nano --data builtin --precision fp32 \
  --budget 1ktok --batch 4 --seq 32 --eval-tokens 1024 --trials 3 --workers 2 \
  --db "$runs/results.db" --study arm64 >&2

loss=$(validation_loss emulate "$build/moebius")
[ -n "$loss" ] || fail "training glam-nano printed no loss"
native=$source/build/moebius
if [ -x "$native" ]; then
  native_loss=$(validation_loss "$native")
  awk -v a="$loss" -v b="$native_loss" 'BEGIN { exit !(b != "" && (a - b)^2 < 1.1e-6) }' ||
    fail "glam-nano has loss $loss in 20 steps on arm64, $native_loss natively: over 1e-3 apart"
  if [ "$loss" = "$native_loss" ]; then agreement="as natively"
  else agreement="$native_loss natively, within 1e-3"
  fi
else
  agreement="not compared: $native is not built"
fi
say "passed on emulated arm64: model tests${*:+ ($*)}, a search, and glam-nano with loss $loss in" \
  "20 steps ($agreement)"

#!/usr/bin/env bash
# Runs the model tests, and trains glam-nano in bf16, as processors that this one is not: Nehalem (the
# baseline), Westmere (SSE4, no AVX) and Haswell (AVX2), which qemu-user emulates. Options go to
# GoogleTest, as in ./run machine qemu --gtest_filter='Gemm.*'. All tests take hours: qemu's AVX2 is
# about 150 times slower than the processor's.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$root/build
unset MOEBIUS_LEVEL

say() { printf 'qemu: %s\n' "$*" >&2; }

"$root/run" build tests
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for expected in Nehalem:x86-64 Westmere:sse4 Haswell:avx2; do
  processor=${expected%:*} level=${expected#*:}
  emulate=(qemu-x86_64 -cpu "$processor")
  got=$("${emulate[@]}" "$build/moebius" version --json |
    sed -n 's/.*"instruction_level": "\(.*\)".*/\1/p')
  [ "$got" = "$level" ] || { say "$processor is taken for '$got', not $level"; exit 1; }
  say "$processor, level $level"
  "${emulate[@]}" "$build/moebius" train glam-nano --data builtin --steps 2 --batch 2 --eval-tokens 256 \
    --precision bf16 -o "$out/$processor" -q
  "${emulate[@]}" "$build/tests/model_tests" --gtest_brief=1 "$@"
done
say "passed: the model tests as Nehalem, Westmere and Haswell"

#!/usr/bin/env bash
# Runs the model tests as processors that this one is not: one without AVX (Westmere: SSE4), one older
# still (Nehalem: the baseline) and one with AVX2 (Haswell), emulated by qemu-user. About an hour on
# two cores. Options go to GoogleTest: ./run machine qemu --gtest_filter='Gemm.*'
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$root/build

"$root/run" build tests
for expected in Nehalem:x86-64 Westmere:sse4 Haswell:avx2; do
  processor=${expected%:*} level=${expected#*:}
  emulate=(qemu-x86_64 -cpu "$processor")
  got=$("${emulate[@]}" "$build/moebius" version --json 2>/dev/null |
    sed -n 's/.*"instruction_level": "\(.*\)".*/\1/p')
  [ "$got" = "$level" ] || { echo "qemu.sh: $processor is taken for $got, not $level"; exit 1; }
  echo "qemu.sh: $processor, level $level"
  "${emulate[@]}" "$build/tests/model_tests" --gtest_brief=1 "$@"
done
echo "qemu.sh: the model tests pass as Nehalem, Westmere and Haswell"

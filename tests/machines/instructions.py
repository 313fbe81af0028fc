#!/usr/bin/env python3
"""Checks that an instruction of an extension stands only in functions of its level.

    instructions.py BINARY [--levels L,L..]

A function belongs to the level whose namespace its name holds (model/backends/cpu/level.h), and
to the baseline where it holds none. All instructions of a level are given back to the assembler,
which is told what that level has: what it refuses is printed with its function, and the exit status
is 1. So it is where a function calls one of a higher level, and where a table of kernels
(PerLevel) holds one of another level than its place says; other calls by pointer are not seen. Each
of --levels (all of them by default) must also use what the level below lacks: a check that finds no
such instruction has not looked at the kernels. Exit status 77: not for x86-64.
"""
import argparse
import collections
import re
import subprocess
import sys

# Namespace, and what the assembler is told beside what the levels before have.
LEVELS = {
    "baseline": "generic64",
    "N_SSE4": "+sse4.2+popcnt+pclmul+aes",
    "N_AVX2": "+avx2+bmi+bmi2+fma+f16c",
    "N_AVX3": "+avx512f+avx512cd+avx512vl+avx512dq+avx512bw",
    "N_AVX3_BF16": "+avx512_bf16",
    "amx": "+amx_tile+amx_bf16",
}
NAMES = list(LEVELS)
NAMESPACE = re.compile(r"\b(N_\w+|amx)::")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
INSTRUCTION = re.compile(r"^ +[0-9a-f]+:\t(.+)$")
# Every processor has these: direct jumps and calls, whose target is an address, and padding in forms
# that only disassemblers write. xgetbv finds levels, after cpuid said that it is there.
PLAIN = re.compile(r"(bnd |notrack )?(j[a-z]+|call)(,p[nt])? +[0-9a-f]|(data16 |cs )*nop|ret|endbr64"
                   r"|xgetbv")
TARGET = re.compile(r"<(.*?)(\+0x[0-9a-f]+)?>$")
REFUSED = re.compile(r"^\{standard input\}:(\d+): Error: (.*)$")


def level_of(function):
    """The highest level that the name holds, without the types of parameters: a lambda's name holds that
    of its function, and a template made for a type of a level is called from there alone."""
    while (shorter := re.sub(r"\([^()]*\)", "", function)) != function:
        function = shorter
    found = [NAMES.index(name) for name in NAMESPACE.findall(function) if name in LEVELS]
    return NAMES[max(found, default=0)]


def normal(text):
    """An instruction without what does not decide its encoding: comments, symbols, displacements."""
    text = re.sub(r"\s*(#.*|<.*>)", "", text)
    text = re.sub(r"-?0x[0-9a-f]+\(", "64(", text)
    return re.sub(r"^(bnd|notrack) ", "", text).strip()


def read(binary):
    """-> {level: {instruction: functions with it}}, {level: functions}, {(caller, callee)}: calls of a
    higher level"""
    found = {name: collections.defaultdict(set) for name in NAMES}
    functions = {name: set() for name in NAMES}
    calls = set()
    command = ["objdump", "--disassemble", "--demangle", "--no-show-raw-insn", binary]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        function = level = None
        for line in process.stdout:
            if match := FUNCTION.match(line):
                function = match[1]
                level = level_of(function)
                functions[level].add(function)
            elif not function or not (match := INSTRUCTION.match(line)):
                continue
            elif not PLAIN.match(match[1]):
                found[level][normal(match[1])].add(function)
            elif target := TARGET.search(match[1]):
                if NAMES.index(level_of(target[1])) > NAMES.index(level):
                    calls.add((function, target[1]))
    if process.returncode != 0:
        sys.exit(f"objdump ended with {process.returncode}")
    return found, functions, calls


def tables(binary):
    """-> {table of kernels: [names of the function at each place]}"""
    symbols = subprocess.run(["readelf", "--symbols", "--wide", binary], check=True, text=True,
                             capture_output=True).stdout
    names = re.findall(r"^ *\d+: (\w+) +(\d+) (FUNC|OBJECT) .* (\S+)$", symbols, re.MULTILINE)
    plain = subprocess.run(["c++filt"], check=True, text=True, capture_output=True,
                           input="\n".join(name for *_, name in names)).stdout.splitlines()
    functions = collections.defaultdict(set)
    found = {}
    for (address, size, kind, _), name in zip(names, plain):
        if kind == "FUNC":
            functions[int(address, 16)].add(name)
        elif name.endswith("_kernels"):
            found[name] = (int(address, 16), int(size) // 8)
    relocations = subprocess.run(["readelf", "--relocs", "--wide", binary], check=True, text=True,
                                 capture_output=True).stdout
    pointers = {int(place, 16): int(value, 16) for place, value in
                re.findall(r"^(\w+) +\w+ R_X86_64_RELATIVE +(\w+)$", relocations, re.MULTILINE)}
    return {name: [functions[pointers.get(address + 8 * i, 0)] for i in range(size)]
            for name, (address, size) in found.items()}


def refused(instructions, march):
    """-> [(instruction, why)] of what the assembler does not take for `march`."""
    lines = list(instructions)
    options = ["-march=" + march] if march else []
    run = subprocess.run(["as", "--64", *options, "-o", "/dev/null", "-"], check=False, text=True,
                         input="\n".join(lines) + "\n", capture_output=True)
    errors = [REFUSED.match(line) for line in run.stderr.splitlines()]
    result = [(lines[int(error[1]) - 1], error[2]) for error in errors if error]
    if run.returncode != 0 and not result:
        sys.exit("as: " + run.stderr.strip())
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--levels", default=",".join(NAMES[1:]), help="that must occur")
    args = parser.parse_args()
    header = subprocess.run(["objdump", "--file-headers", args.binary], check=True, text=True,
                            capture_output=True).stdout
    if "i386:x86-64" not in header:
        print(f"skipped: {args.binary} is not for x86-64")
        return 77
    found, functions, calls = read(args.binary)
    march, blind = "", []
    wrong = collections.defaultdict(set)  # by function
    for caller, callee in calls:
        wrong[caller].add(f"calls {callee} of a higher level")
    kernels = tables(args.binary)
    for table, places in kernels.items():
        for name, held in zip(NAMES, places):
            if name not in map(level_of, held):
                wrong[table].add(f"holds {', '.join(held) or 'no function'} at the place of {name}")
    for name, extensions in LEVELS.items():
        below, march = march, march + extensions
        for text, _ in refused(found[name], ""):  # not even with all extensions
            for function in found[name][text]:
                wrong[function].add(f"{text}: not understood")
        for text, why in refused(found[name], march):
            for function in found[name][text]:
                wrong[function].add(f"{text}: {why}")
        own = len(refused(found[name], below)) if below else len(found[name])
        if own == 0 and name in args.levels.split(","):
            blind.append(name)
        print(f"{name:<12} {len(functions[name]):6} functions, {len(found[name]):6} instructions, "
              f"{own:6} of them not at the level below")
    print(f"{len(kernels)} tables of kernels")
    for function, reasons in sorted(wrong.items()):
        print(f"in {function}, of level {level_of(function)}: {len(reasons)} misplaced, one of them:\n"
              f"  {min(reasons)}")
    if wrong:
        print(f"misplaced: {len(wrong)} functions or tables")
    for name in blind:
        print(f"{name} has no instruction of its own: are its kernels in {args.binary}?")
    if not kernels:
        blind.append("tables")
        print(f"no table of kernels in {args.binary}")
    return 1 if wrong or blind else 0


if __name__ == "__main__":
    sys.exit(main())

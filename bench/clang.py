"""Instructions of ten programs written twice: in the language, and in C compiled by clang -O2 -target bpf.

    python -m bench.clang [--json]

The C of bench/clang/NAME.c does what bench/scripts/NAME.bt does, with maps of the same kinds. Counted are
instruction slots before loading. The environment variable CLANG names the compiler. Needs no root.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.tools import HERE, SCRIPTS, flag, geometric_mean, machine, table
from pbt.host.target import Target
from pbt.pipeline import compile
from pbt.source import Source

SOURCES = HERE / "clang"
_EXECUTABLE, _PROGBITS = 4, 1  # SHF_EXECINSTR, SHT_PROGBITS


def compiler() -> str | None:
    names = [os.environ.get("CLANG", "clang"), *(f"clang-{n}" for n in range(25, 11, -1))]
    return next((found for name in names if (found := shutil.which(name))), None)


def code_sizes(data: bytes) -> Iterator[int]:
    """Bytes of each section of an ELF object that holds instructions."""
    (start,) = struct.unpack_from("<Q", data, 0x28)
    entry, count = struct.unpack_from("<HH", data, 0x3A)
    for at in range(start, start + entry * count, entry):
        _, kind, flags, _, _, size = struct.unpack_from("<IIQQQQ", data, at)
        if kind == _PROGBITS and flags & _EXECUTABLE:
            yield size


def by_clang(clang: str, source: Path, folder: str) -> int:
    made = Path(folder) / "made.o"
    words = [clang, "-O2", "-target", "bpf", "-mcpu=v3", "-c", str(source), "-o", str(made)]
    subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
    return sum(code_sizes(made.read_bytes())) // 8


def by_pbt(script: Path, target: Target) -> int:
    bundle = compile(Source(script.name, script.read_text()), target)
    return sum(len(program.code.insns) // 8 for program in bundle.programs)


def run() -> dict[str, object]:
    clang = compiler()
    if clang is None:
        return {"machine": dict(machine()), "rows": [], "text": "no clang here"}
    target, rows = Target.live(), []
    with TemporaryDirectory() as folder:
        for source in sorted(SOURCES.glob("*.c")):
            mine, theirs = by_pbt(SCRIPTS / f"{source.stem}.bt", target), by_clang(clang, source, folder)
            rows.append([source.stem, mine, theirs, mine / theirs])
    ratios = [float(row[3]) for row in rows]
    total = sum(row[1] for row in rows) / sum(row[2] for row in rows)
    text = table(["program", "pbt", "clang", "ratio"], rows)
    text += f"\n\nsum {total:.2f}, geometric mean {geometric_mean(ratios):.2f}"
    return {"machine": dict(machine()), "rows": rows, "text": text}


def main() -> None:
    found = run()
    print(json.dumps(found) if flag("json") else found["text"])


if __name__ == "__main__":
    sys.exit(main())

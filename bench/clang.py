"""Instructions of programs written twice: in the language, and in C compiled by clang -O2 -target bpf.

    python -m bench.clang [--json]

The C of bench/clang/NAME.c does what bench/scripts/NAME.bt does, with maps of the same kinds, and counts insertions
that fail, as pbt does: a global counter and the last error. `clang, uncounted` is the same C without that, as it is
often written. Counted are instruction slots before loading. The environment variable CLANG names the compiler.
Needs no root.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.tools import HERE, SCRIPTS, explained, flag, geometric_mean, machine, table
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


def by_clang(clang: str, source: Path, folder: str, *options: str) -> int:
    made = Path(folder) / "made.o"
    words = [clang, "-O2", "-target", "bpf", "-mcpu=v3", *options, "-c", str(source), "-o", str(made)]
    subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
    return sum(code_sizes(made.read_bytes())) // 8


def by_pbt(script: Path, target: Target) -> int:
    bundle = compile(Source(script.name, script.read_text()), target)
    return sum(len(program.code.insns) // 8 for program in bundle.programs)


def run() -> dict[str, object]:
    clang = compiler()
    if clang is None:
        return {"machine": dict(machine()), "rows": [], "text": "no clang here"}
    target = Target.live()
    rows: list[list[Any]] = []
    with TemporaryDirectory() as folder:
        for source in sorted(SOURCES.glob("*.c")):
            mine, theirs = by_pbt(SCRIPTS / f"{source.stem}.bt", target), by_clang(clang, source, folder)
            less = by_clang(clang, source, folder, "-DUNCOUNTED")
            rows.append([source.stem, mine, theirs, mine / theirs, less, mine / less])
    text = table(["program", "pbt", "clang", "ratio", "clang, uncounted", "ratio"], rows)
    text += f"\n\n{_summed(rows, 2)}; to clang without counting failures: {_summed(rows, 4)}"
    return {"machine": dict(machine()), "rows": rows, "text": text}


def _summed(rows: list[list[Any]], column: int) -> str:
    """Over the programs: pbt's instructions over those of a column."""
    total = sum(row[1] for row in rows) / sum(row[column] for row in rows)
    return f"sum {total:.2f}, geometric mean {geometric_mean(row[1] / row[column] for row in rows):.2f}"


def main() -> None:
    explained(__doc__)
    found = run()
    print(json.dumps(found) if flag("json") else found["text"])


if __name__ == "__main__":
    main()

"""Systematic questions: what programs of each type may do at all, asked of kernels and of the simulator.

    python -m tests.lab.questions [--kernel 5.10,6.1,…] [--here] [--kinds returns,context,…] [--answers FOLDER]

Program type by attach type by helper, offset of the context, kernel function, map, result. Each is one tiny
program; kernels and simulator answer it with a class: "yes", or the first thing that stands against it. What
is answered differently is printed. With --answers kernels are asked once only, and their types and answers kept.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from pbt.host.btf import Btf
from pbt.isa.insn import encode
from pbt.verifier_sim import verify
from pbt.verifier_sim.functions import Declared
from pbt.verifier_sim.kernels import features
from pbt.verifier_sim.kerneltypes import KernelTypes
from pbt.verifier_sim.progbtf import ProgramTypes, functions
from tests.lab import kernels, vm
from tests.lab.asked import KINDS, Question, whole
from tests.lab.asked_of_types import OF_TYPES

SLEEPS = 16  # BPF_F_SLEEPABLE


class Asked(NamedTuple):
    """A kernel: its release, its types, and the helpers that its configuration leaves out."""

    release: str
    btf: Btf
    missing: frozenset[str]


def questions(kinds: list[str], btf: Btf) -> dict[str, Question]:
    found: dict[str, Question] = {}
    for kind in kinds:
        made = OF_TYPES[kind](btf) if kind in OF_TYPES else KINDS[kind]()
        for q in made:
            found.setdefault(f"{q.prog_type} {q.attach} {q.name}{' asleep' if q.sleepable else ''}", q)
    return found


def line(name: str, q: Question, btf: Btf) -> dict[str, Any] | None:
    """The question as loading.py reads it; None if what it attaches to is not in this kernel."""
    insns = [
        insn._replace(imm=btf.find("func", q.kfuncs[at]) or 0) if at in q.kfuncs else insn
        for at, insn in enumerate(q.insns)
    ]
    target = btf.find(q.target[0], q.target[1] + q.target[2]) if q.target else 0
    if target is None:
        return None
    from tests.lab.judging import _map

    return {
        "id": name, "type": q.prog_type, "attach": q.attach, "insns": encode(insns).hex(),
        "maps": [_map(info) for info in q.maps], "refs": [[at, row[0]] for at, row in q.map_of.items()],
        "types": q.described[0].hex(), "functions": q.described[1].hex(), "btf_id": target, "flags": SLEEPS * q.sleepable, "level": 1,
    }  # fmt: skip


def ours(q: Question, asked: Asked, types: KernelTypes) -> str:
    rules = features(asked.release)
    found = verify(
        q.insns, prog_type=q.prog_type, expected_attach_type=q.attach, maps=q.maps, map_of=q.map_of,
        kernel=asked.release, features=rules, sleepable=q.sleepable, target=q.target[2] if q.target else None,
        types=types, kfuncs=q.kfuncs, missing=asked.missing, explain=False, declared=_declared(q),
        described=bool(q.described[0]),
    )  # fmt: skip
    if found.unsupported:
        return f"unsupported: {found.unsupported}" if q.classify is whole else q.classify("") + "?"
    return q.classify(found.error.reason or "refused" if found.error else "")


def _declared(q: Question) -> Declared | None:
    if not q.described[0]:
        return None
    types = ProgramTypes.parse(q.described[0])
    words = struct.unpack(f"<{len(q.described[1]) // 4}I", q.described[1])
    rows = list(zip(words[::2], words[1::2], strict=True))
    return Declared(functions(types, rows), types, types.struct_sizes())


def fetch_types(kernel: str) -> tuple[str, bytes]:
    """A lab kernel's release and BTF."""
    words = "uname -r; gzip -1c /sys/kernel/btf/vmlinux | base64 -w0"
    said = vm.run(kernel, [vm.Command(["sh", "-c", words], timeout=100)])[0].stdout.split()
    return said[0], gzip.decompress(base64.b64decode(said[1]))


def answers(kernel: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What a kernel ("here": the running one) says to lines for loading.py."""
    text = "".join(json.dumps(row) + "\n" for row in lines)
    if kernel == "here":
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write(text)
            file.flush()
            said = subprocess.run([sys.executable, "-m", "tests.lab.loading", file.name], check=True, text=True,
                                  capture_output=True, cwd=kernels.PROJECT, timeout=300).stdout  # fmt: skip
    else:
        words = [sys.executable, "-m", "tests.lab.loading", "/run/lab/asked.jsonl"]
        result = vm.run(kernel, [vm.Command(words, timeout=1400)], files={"asked.jsonl": text})[0]
        if result.code:
            raise SystemExit(result.stderr)
        said = result.stdout
    return {row["id"]: row for row in map(json.loads, said.splitlines())}


def compare(kernel: str, kinds: list[str], folder: Path) -> list[str]:
    """Differences, a line each."""
    kept = folder / f"{kernel}.btf"
    if kernel == "here":
        release, data = os.uname().release, Path("/sys/kernel/btf/vmlinux").read_bytes()
    elif kept.exists():
        release, data = (folder / f"{kernel}.release").read_text(), kept.read_bytes()
    else:
        release, data = fetch_types(kernel)
        kept.write_bytes(data)
        (folder / f"{kernel}.release").write_text(release)
    btf = Btf(data)
    asked = questions(kinds, btf)
    store = folder / f"{kernel}.answers"
    said = json.loads(store.read_text()) if store.exists() else {}
    lines = [made for name, q in asked.items() if name not in said and (made := line(name, q, btf))]
    if lines:
        got = answers(kernel, lines)
        said |= {row["id"]: "?" if got[row["id"]]["ok"] is None else "" if got[row["id"]]["ok"]
                 else got[row["id"]]["log"] for row in lines}  # fmt: skip
        store.write_text(json.dumps(said))
    missing = frozenset(("override_return", "probe_write_user") if kernel == "here" else ("override_return",))
    types, found = KernelTypes(btf, True), dict[str, list[str]]()
    there = {q.prog_type for name, q in asked.items() if not said.get(name, "?")}
    for name, q in asked.items():
        log = said.get(name, "?")
        if log == "?" or q.prog_type not in there or "Operation not permitted" in log:
            continue
        theirs, mine = q.classify(log), ours(q, Asked(release, btf, missing), types)
        if theirs != mine:
            words = [text[:150] for text in log.splitlines() if "processed" not in text and text.strip()][-1:]
            where = f"{q.prog_type} {q.attach}{' asleep' if q.sleepable else ''}"
            found.setdefault(f"{q.name}: kernel {theirs}, simulator {mine}{words}", []).append(where)
    count = sum(map(len, found.values()))
    print(f"{kernel} ({release}): {len(asked)} questions, {count} answered differently", flush=True)
    return [f"{kernel}: {what}: {len(where)}: {', '.join(where)}" for what, where in found.items()]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.questions", description=__doc__)
    parser.add_argument("--kernel", default="")
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--kinds", default=",".join((*KINDS, *OF_TYPES)))
    parser.add_argument("--answers", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    names = [*(kernels.chosen(args.kernel) if args.kernel else ()), *(["here"] if args.here else ())]
    found = [row for name in names for row in compare(name, args.kinds.split(","), args.answers)]
    print("\n".join(found))
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main())

"""Programs for `loading.py`, each with what the simulator says of it: what the verdicts of kernels are compared with.

Made here, because a guest is slow: there they are only loaded.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from pbt.host.target import Target
from pbt.isa.insn import Insn, encode
from pbt.verifier_sim import MapInfo, Verdict, verify
from pbt.verifier_sim.bundles import meets_types
from pbt.verifier_sim.calibrate import PROBES, programs
from pbt.verifier_sim.functions import Declared
from tests.lab import vm
from tests.property import mutants, structured

COUNT = 300  # programs of each kind


class Asked(NamedTuple):
    """A program, the line about it for loading.py, and what the simulator says of it for a kernel (options of `verify`)."""

    name: str
    line: dict[str, Any]
    verdict: Callable[..., Verdict]


def _asked(
    name: str,
    prog_type: str,
    insns: Sequence[Insn],
    maps: Sequence[MapInfo],
    references: Mapping[int, tuple[int, str, int]],
    attach: str = "",
    declared: Declared | None = None,
    described: tuple[bytes, bytes] = (b"", b""),
    privileged: bool = True,
) -> Asked:
    line = {
        "id": name, "type": prog_type, "attach": attach, "insns": encode(insns).hex(),
        "maps": [_map(info) for info in maps],
        "refs": [[slot, index] for slot, (index, _, _) in references.items()],
        "types": described[0].hex(), "functions": described[1].hex(),
    }  # fmt: skip

    def verdict(**options: Any) -> Verdict:
        return verify(
            insns, prog_type=prog_type, expected_attach_type=attach, maps=maps, map_of=references,
            declared=declared, privileged=privileged, **options,
        )  # fmt: skip

    return Asked(name, line, verdict)


def _map(info: MapInfo) -> list[Any]:
    """A map as loading.py reads it."""
    fields = [[field.kind, field.off, field.size] for field in info.fields]
    sizes = [info.key_size, info.value_size, info.max_entries or 64, info.flags]
    return [info.map_type, *sizes, fields, _map(info.inner) if info.inner else None]


def random_ones(count: int, first: int = 0, privileged: bool = True) -> Iterator[Asked]:
    """Random programs, every other one with something changed; unprivileged ones are socket filters."""
    for seed in range(first, first + count):
        yield random_program(seed, bool(seed & 1), privileged)


def random_program(seed: int, changed: bool, privileged: bool = True) -> Asked:
    """The random program of a seed, perhaps with something changed."""
    made = structured.program(seed) if privileged else structured.unprivileged(seed)
    if changed:
        made = structured.mutated(random.Random(seed), made)
    return _asked(
        f"random {seed}", made.prog_type, made.insns, structured.MAPS, made.map_of,
        declared=made.declared, described=made.described, privileged=privileged,
    )  # fmt: skip


def changed_scripts(count: int, target: Target) -> Iterator[Asked]:
    """Programs of the benchmark's scripts, with something changed; none that only this machine's types explain."""
    seeds = [seed for seed in mutants.seeds(target, ("bench/scripts",)) if not meets_types(seed.bundle)]
    for number in range(count):
        made = mutants.mutant(seeds, number)
        seed = made.seed
        yield _asked(
            f"changed {number} ({made.how})", seed.prog_type, made.insns, seed.maps, made.references,
            seed.attach, made.declared, made.described,
        )  # fmt: skip


def calibration() -> list[dict[str, Any]]:
    """The calibration programs, as lines."""
    array = ["ARRAY", 4, 16, 4, 0]
    return [
        {
            "id": f"rule {rule}", "type": kind, "attach": "", "insns": code.hex(), "maps": [array],
            "refs": [[slot, 0] for slot in slots], "types": "", "functions": "",
        }
        for rule, (kind, code, slots) in programs().items()
    ]  # fmt: skip


def command(name: str, *options: str) -> vm.Command:
    return vm.Command([sys.executable, "-m", "tests.lab.loading", f"/run/lab/{name}", *options], timeout=400)


@cache
def asked_by_root() -> list[Asked]:
    return [*random_ones(COUNT), *changed_scripts(COUNT, Target.live())]


@cache
def asked_by_nobody() -> list[Asked]:
    return list(random_ones(COUNT, privileged=False))


@cache
def file_of_root() -> str:
    """What loading.py reads: the calibration programs and `asked_by_root`."""
    return _text([*calibration(), *(row.line for row in asked_by_root())])


@cache
def file_of_nobody() -> str:
    return _text([row.line for row in asked_by_nobody()])


def _text(lines: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def rules(said: Mapping[str, Mapping[str, Any]]) -> dict[str, bool]:
    """Rule → whether the kernel has it, from its answers to the calibration programs."""
    return {p.rule: said[f"rule {p.rule}"]["ok"] == p.means for p in PROBES if f"rule {p.rule}" in said}


def compare(
    rows: Sequence[Asked], said: Mapping[str, Mapping[str, Any]], release: str
) -> tuple[list[str], list[str]]:
    """Programs that the simulator accepts and the kernel does not, each with the kernel's reason; and the other way."""
    accepts, rejects = [], []
    for row in rows:
        answer = said[row.name]
        if answer["ok"] is None:  # a map that this kernel does not make
            continue
        verdict = row.verdict(kernel=release, cpus=said["cpus"]["count"])
        if verdict.ok and not answer["ok"]:
            accepts.append(f"{row.name} {row.line['type']}: {answer['log']}")
        elif not verdict.ok and answer["ok"]:
            rejects.append(f"{row.name} {row.line['type']}: {verdict.story()}")
    return accepts, rejects

"""Our log beside the running kernel's, line by line.

    python -m tests.live.logs [--show]   the share of the kernel's lines that ours has too, by level; what differs

Not compared: addresses and names of maps, and what ours has none of: which slots of the stack are still to be read
(`live stack update`), the strongly connected parts of the flow, and how long it took.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from difflib import SequenceMatcher
from typing import NamedTuple

from pbt.cli.kernel import judging
from pbt.host.target import Target
from pbt.isa.insn import Insn, encode
from pbt.source import KernelError
from pbt.sys import bpf
from pbt.verifier_sim import verify
from pbt.verifier_sim.bundles import map_infos
from tests.property import mutants
from tests.unit.verifier_sim.programs import CASES, MAPS, build

RELEASE = os.uname().release
_ABSENT = re.compile(r"\(\d[\d,]*\) (frame|live stack)|SCC (enter|exit)|verification time|stack depth")


class Pair(NamedTuple):
    """A program's two logs."""

    name: str
    ours: list[str]
    kernels: list[str]

    def shared(self) -> int:
        """Lines that both have, in the same order."""
        found = SequenceMatcher(None, self.ours, self.kernels, False)
        return sum(block.size for block in found.get_matching_blocks())

    def differences(self) -> Iterator[str]:
        found = SequenceMatcher(None, self.ours, self.kernels, False)
        for tag, i, j, k, m in found.get_opcodes():
            if tag != "equal":
                yield from (f"- {line}" for line in self.ours[i:j])
                yield from (f"+ {line}" for line in self.kernels[k:m])


def _lines(log: str, whole: bool) -> list[str]:
    """The lines to compare; `whole`: with those that ours has none of.

    Without them, a state that they pushed to a line of its own stands behind its instruction again.
    """
    out, pushed = [""], False
    log = re.sub(r"(goto pc[+-]\d+) *(\d+: )", r"\1\n\2", log)  # level 1: what is taken back leaves blanks
    for line in log.splitlines():
        if not whole and _ABSENT.match(line):
            pushed = True
            continue
        line = re.sub(r"\bmap=[^,)]*,", "", line)
        line = re.sub(r"(\(18\) r\d = )(map_\w+\[.*?\]\[.*?\](\+\d+)?|0x[\da-f]+)", r"\1MAP", line)
        line = re.sub(r" +;", " ;", line.rstrip())
        state = re.match(r"\d+: ((?:frame\d+: )?(?:R\d+|fp-\d+)=.*)", line)
        if pushed and state and re.match(r"\d+: \(", out[-1]):
            out[-1] += f" ; {state[1]}"
        else:
            out.append(line)
        pushed = False
    return out[1:]


def loaded(
    prog_type: str,
    insns: Sequence[Insn],
    references: Mapping[int, tuple[int, str, int]],
    maps: Sequence[int],
    attach: str = "",
    level: int = 2,
) -> str:
    """The kernel's log of a program, "" if it gave none."""
    slots, said = list(insns), list[str]()
    for at, (index, _, _) in references.items():
        slots[at] = slots[at]._replace(imm=maps[index])
    try:
        bpf.prog_load(
            prog_type, encode(slots), expected_attach_type=attach, log_level=level, log=said.append
        ).close()
    except KernelError as error:
        said = said or [error.log]
    return said[0] if said else ""


def _programs(stack: ExitStack, count: int) -> Iterator[tuple[str, tuple[object, ...], list[int]]]:
    """Small programs, those of scripts, and `count` of the latter with something changed: with maps made for them."""
    made = [
        stack.enter_context(bpf.map_create(m.map_type, m.key_size, m.value_size, m.max_entries)).fileno()
        for m in MAPS
    ]
    for case in CASES:
        yield case.name, (case.prog_type, *build(case.text), MAPS, ""), made
    seeds = mutants.seeds(Target.live(), ("bench/scripts",))
    known: dict[str, list[int]] = {}
    changed = [mutants.mutant(seeds, number) for number in range(count)]
    for name, seed, insns, references in [
        *((seed.name, seed, seed.insns, seed.references) for seed in seeds),
        *((one.how, one.seed, one.insns, one.references) for one in changed if not one.described[0]),
    ]:
        if any(insn.is_wide and insn.src_reg == 4 for insn in insns):
            continue  # callbacks want types
        if seed.bundle.name not in known:
            fds = [stack.enter_context(bpf.map_create(*mutants.created(m, 64))) for m in seed.bundle.maps]
            known[seed.bundle.name] = [fd.fileno() for fd in fds]
        given = (seed.prog_type, insns, references, map_infos(seed.bundle), seed.attach)
        yield name, given, known[seed.bundle.name]


def pairs(level: int, count: int, whole: bool = False) -> Iterator[Pair]:
    """Both logs of many programs."""
    options = judging(RELEASE, ask=True)
    with ExitStack() as stack:
        for name, given, maps in _programs(stack, count):
            prog_type, insns, references, infos, attach = given
            log = loaded(prog_type, insns, references, maps, attach, level)  # type: ignore[arg-type]
            verdict = verify(
                insns, prog_type=prog_type, expected_attach_type=attach, maps=infos, map_of=references,
                log=level, patience=5000, **options,
            )  # type: ignore[arg-type]  # fmt: skip
            if log and not verdict.unsupported:
                yield Pair(name, _lines(verdict.log, whole), _lines(log, whole))


def main(argv: Sequence[str]) -> None:
    for level in (1, 2):
        for whole in (False, True) if level == 2 else (False,):
            found = list(pairs(level, 60, whole))
            lines, shared = sum(len(pair.kernels) for pair in found), sum(pair.shared() for pair in found)
            equal = sum(pair.ours == pair.kernels for pair in found)
            print(
                f"level {level}{', all lines' if whole else ''}: {len(found)} programs, {shared} of {lines} lines "
                f"({100 * shared / lines:.1f}%), {equal} logs equal"
            )
            if "--show" in argv and not whole:
                kinds: Counter[str] = Counter()
                for pair in found:
                    for line in pair.differences():
                        if "--all" in argv:
                            print(f"{pair.name}: {line}")
                        kinds[re.sub(r"\d+", "N", line)[:70]] += 1
                for kind, times in kinds.most_common(25):
                    print(f"    {times:5} {kind}")


if __name__ == "__main__":
    main(sys.argv[1:])

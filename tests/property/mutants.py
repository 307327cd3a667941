"""Programs that pbt compiled, with something changed: a register, an offset, an opcode, a number; an
instruction dropped, doubled, or swapped with the next.

They are real programs with one mistake, which random ones seldom are. Number n is always the same mutant of the same scripts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pbt.bundle import Bundle
from pbt.bundle import Map as BundleMap
from pbt.host.target import Target
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.pipeline import Options, compile
from pbt.source import PbtError, Source
from pbt.verifier_sim import MapInfo
from pbt.verifier_sim.bundles import map_infos, resolve
from pbt.verifier_sim.functions import Declared, declared

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("bench/scripts", "tools")
_LONGEST = 1500  # slots: longer programs take too long for what they show
_NUMBERS = (0, 1, 2, 4, 7, 8, 16, 63, 64, 255, 4096, 65535, -1, -2, -8, -16, -128, 1 << 30, -(1 << 31))


class Seed(NamedTuple):
    """A program before anything was changed; `starts`: the first slots of its functions, by name."""

    name: str
    bundle: Bundle
    prog_type: str
    attach: str
    insns: list[Insn]
    references: Mapping[int, tuple[int, str, int]]
    starts: tuple[tuple[str, int], ...]

    @property
    def maps(self) -> tuple[MapInfo, ...]:
        return map_infos(self.bundle)


class Mutant(NamedTuple):
    """As `Seed`, changed; `declared` and `described`: its functions' types, for the simulator and for the kernel."""

    seed: Seed
    how: str
    insns: list[Insn]
    references: Mapping[int, tuple[int, str, int]]
    declared: Declared | None
    described: tuple[bytes, bytes]


class _Item(NamedTuple):
    """An instruction of one or two slots; `target`: the item that it jumps to, calls or names."""

    insns: tuple[Insn, ...]
    reference: tuple[int, str, int] | None
    target: int = -1


def seeds(target: Target, folders: Sequence[str] = SCRIPTS) -> list[Seed]:
    """The programs of the repository's scripts that a target can compile, those with the same code once."""
    found: dict[object, Seed] = {}
    for path in sorted(path for folder in folders for path in (ROOT / folder).glob("*.bt")):
        try:
            bundle = compile(Source(path.name, path.read_text()), target, Options(unsafe=True))
        except PbtError:
            continue
        for seed in _of(bundle):
            found.setdefault((seed.prog_type, tuple(seed.insns)), seed)
    return list(found.values())


def _of(bundle: Bundle) -> Iterator[Seed]:
    for program in bundle.programs:
        externs = any(reloc.kind == "btf_id" for reloc in program.code.relocs)
        if program.attach_btf is None and not externs and len(program.code.insns) <= 8 * _LONGEST:
            insns, references = resolve(bundle, program)
            yield Seed(
                f"{bundle.name} {program.name}", bundle, program.prog_type, program.expected_attach_type,
                insns, references, program.code.functions or (("main", 0),),
            )  # fmt: skip


def mutant(seeds: Sequence[Seed], number: int) -> Mutant:
    """Mutant number `number`."""
    rng = random.Random(number)
    seed = rng.choice(seeds)
    items, at_slot = _items(seed)
    how = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        edit = rng.choice(_EDITS)
        how.append(edit.__name__.strip("_"))
        edit(rng, items)
    insns, references, slots = _linked(items)
    starts = [(name, slots[at_slot[slot]]) for name, slot in seed.starts]
    known, described = None, (b"", b"")
    if any(insn.is_wide and insn.src_reg == op.PSEUDO.index("func") for insn in seed.insns):
        from pbt.runtime.funcinfo import describe

        types, (rows,) = describe([("main", starts)])
        described = types, rows
        known = declared(
            {"raw": types.hex()}, [(slot, _word(rows, 8 * at + 4)) for at, (_, slot) in enumerate(starts)]
        )
    return Mutant(seed, f"{seed.name}: {', '.join(how)}", insns, references, known, described)


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _items(seed: Seed) -> tuple[list[_Item], dict[int, int]]:
    """The program's instructions, and the position of the one at each slot."""
    at_slot: dict[int, int] = {}
    firsts = []
    slot = 0
    while slot < len(seed.insns):
        at_slot[slot] = len(firsts)
        firsts.append(slot)
        slot += 2 if seed.insns[slot].is_wide else 1
    items = []
    for slot in firsts:
        insn = seed.insns[slot]
        goal = _goal(insn, slot)
        parts = (insn, seed.insns[slot + 1]) if insn.is_wide else (insn,)
        items.append(_Item(parts, seed.references.get(slot), at_slot.get(goal, -1)))
    return items, at_slot


def _goal(insn: Insn, slot: int) -> int:
    """The slot that an instruction jumps to, calls or names; -1 if it does none of these."""
    if insn.is_wide:
        return slot + 1 + insn.imm if insn.src_reg == op.PSEUDO.index("func") else -1
    if insn.opcode & 7 not in (op.JMP, op.JMP32) or insn.opcode == op.JMP | op.EXIT:
        return -1
    if insn.opcode == op.JMP | op.CALL:
        return slot + 1 + insn.imm if insn.src_reg == op.CALL_LOCAL else -1
    return slot + 1 + (insn.imm if insn.opcode == op.JMP32 | op.JA else insn.offset)


def _linked(items: Sequence[_Item]) -> tuple[list[Insn], dict[int, tuple[int, str, int]], list[int]]:
    """Slots, map references, and the slot of each item (and of the end)."""
    slots, slot = [], 0
    for item in items:
        slots.append(slot)
        slot += len(item.insns)
    slots.append(slot)
    insns: list[Insn] = []
    references = {}
    for item, slot in zip(items, slots, strict=False):
        first = item.insns[0]
        if item.reference is not None:
            references[slot] = item.reference
        if item.target >= 0:
            distance = slots[min(item.target, len(slots) - 1)] - slot - 1
            by_imm = first.is_wide or first.opcode in (op.JMP | op.CALL, op.JMP32 | op.JA)
            first = first._replace(imm=distance) if by_imm else first._replace(offset=distance)
        insns += [first, *item.insns[1:]]
    return insns, references, slots


# --- edits: each changes the list -----------------------------------------------------------------


def _one(rng: random.Random, items: list[_Item], **fields: int) -> None:
    """Replace fields of some instruction of one slot."""
    at = rng.choice([at for at, item in enumerate(items) if len(item.insns) == 1])
    items[at] = items[at]._replace(insns=(items[at].insns[0]._replace(**fields),))


def _dst(rng: random.Random, items: list[_Item]) -> None:
    _one(rng, items, dst_reg=rng.randrange(11))


def _src(rng: random.Random, items: list[_Item]) -> None:
    at = rng.choice(
        [at for at, item in enumerate(items) if item.insns[0].src_reg and len(item.insns) == 1] or [0]
    )
    insn = items[at].insns[0]
    if insn.opcode != op.JMP | op.CALL and len(items[at].insns) == 1:
        items[at] = items[at]._replace(insns=(insn._replace(src_reg=rng.randrange(11)),))


def _offset(rng: random.Random, items: list[_Item]) -> None:
    at = rng.choice(
        [at for at, item in enumerate(items) if item.insns[0].opcode & 7 in (op.LDX, op.ST, op.STX)] or [0]
    )
    insn = items[at].insns[0]
    items[at] = items[at]._replace(
        insns=(
            insn._replace(offset=insn.offset + rng.choice((-16, -8, -4, -1, 1, 2, 4, 8, 16))),
            *items[at].insns[1:],
        )
    )


def _jump(rng: random.Random, items: list[_Item]) -> None:
    """A jump goes somewhere else, ahead mostly."""
    at = rng.choice([at for at, item in enumerate(items) if item.target >= 0] or [-1])
    if at >= 0:
        goal = items[at].target + rng.choice((-2, -1, 1, 1, 2, 3, 5))
        items[at] = items[at]._replace(target=max(0, min(goal, len(items) - 1)))


def _opcode(rng: random.Random, items: list[_Item]) -> None:
    """Another operation of the same class, another size, another class of the same operation."""
    at = rng.randrange(len(items))
    insn = items[at].insns[0]
    cls = insn.opcode & 7
    if len(items[at].insns) > 1 or insn.opcode in (op.JMP | op.CALL, op.JMP | op.EXIT):
        return
    if cls in (op.ALU, op.ALU64):
        code = rng.choice((insn.opcode ^ 3, insn.opcode & 0x0F | rng.randrange(14) << 4, insn.opcode ^ 8))
    elif cls in (op.JMP, op.JMP32):
        code = rng.choice(
            (insn.opcode ^ 3, insn.opcode & 0x0F | rng.choice((1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13)) << 4)
        )
    else:
        code = insn.opcode & ~0x18 | rng.randrange(4) << 3
    items[at] = items[at]._replace(insns=(insn._replace(opcode=code),))


def _number(rng: random.Random, items: list[_Item]) -> None:
    found = [
        at
        for at, item in enumerate(items)
        if len(item.insns) == 1
        and item.insns[0].imm
        and item.insns[0].opcode & 7 not in (op.JMP, op.LDX, op.STX)
    ]
    compared = [at for at, item in enumerate(items) if item.target >= 0 and not item.insns[0].opcode & op.X]
    at = rng.choice([*found, *compared] or [-1])
    if at >= 0 and len(items[at].insns) == 1:
        insn = items[at].insns[0]
        imm = rng.choice((*_NUMBERS, insn.imm + 1, insn.imm - 1, insn.imm * 2 % (1 << 31)))
        items[at] = items[at]._replace(insns=(insn._replace(imm=max(-(1 << 31), min(imm, (1 << 31) - 1))),))


def _drop(rng: random.Random, items: list[_Item]) -> None:
    """An instruction goes; its place is kept by a jump to the next, which changes nothing."""
    at = rng.randrange(len(items) - 1)
    items[at] = _Item((Insn(op.JMP | op.JA),), None)


def _swap(rng: random.Random, items: list[_Item]) -> None:
    at = rng.randrange(len(items) - 1)
    items[at], items[at + 1] = items[at + 1], items[at]


def _duplicate(rng: random.Random, items: list[_Item]) -> None:
    """An instruction stands, too, in the place of a later one."""
    at = rng.randrange(len(items) - 1)
    items[min(at + rng.choice((1, 1, 2, 5)), len(items) - 1)] = items[at]


_EDITS = (
    _dst,
    _src,
    _src,
    _offset,
    _offset,
    _jump,
    _opcode,
    _opcode,
    _number,
    _number,
    _drop,
    _drop,
    _swap,
    _duplicate,
)


def created(map_: BundleMap, cpus: int) -> tuple[str, int, int, int, int]:
    """Type, key size, value size, entries and flags to make a map of a bundle with."""
    return map_.map_type, map_.key_size, map_.value_size, map_.max_entries or cpus, map_.flags

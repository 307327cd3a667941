"""Bytes of all kinds for `pbt verify`: each gets a verdict or words, whatever it is, and soon.

Number n is always the same input: PBT_FUZZ_SEED=n PBT_FUZZ_VERIFIER=1 tries it alone, PBT_FUZZ_VERIFIER=100000
tries many.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter

import pytest

from pbt.isa.insn import EncodingError, decode, encode
from pbt.objects import link
from pbt.source import PbtError
from pbt.uapi.progs import PROG_TYPES
from pbt.verifier_sim import jsonl, verify
from pbt.verifier_sim.progbtf import BadTypes, ProgramTypes
from tests.property import structured
from tests.property.test_fuzz import TooSlow, limited, start_clock
from tests.unit.objects.made import LOOKUP, UNCHECKED, Part, assembled, legacy

TRIES = int(os.environ.get("PBT_FUZZ_VERIFIER", "5000"))
SEED = int(os.environ.get("PBT_FUZZ_SEED", "1"))
# of processor time, for one input: a damaged loop is walked up to the kernel's million instructions
SECONDS = 60
KERNELS = ("5.10", "6.1", "6.12", "6.18", "7.3")
OBJECTS = (
    assembled(
        Part("socket", "p", LOOKUP, [(3, "counts")]),
        Part("xdp", "r", UNCHECKED, [(3, "counts")]),
        Part(".text", "q", "r0 = 0; exit"),
    ),
    assembled(
        Part("kprobe/f", "main", "r1 = 4; .insn 0x85 0 1 0 -1; exit", [(1, "inner")]),
        Part(".text", "inner", "r0 = r1; exit"),
        data=bytes(16),
    ),
    legacy((1, 4, 8, 16, 0)),
)
_ENDS = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFE, 0xFF)


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Some bytes changed, cut out, doubled."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(out) + 1)
        how = rng.randrange(8)
        if how < 5 and at < len(out):
            out[at] = rng.choice(_ENDS) if how < 3 else rng.randrange(256)
        elif how == 5:
            del out[at : at + rng.choice((1, 4, 8, 16))]
        elif how == 6:
            out[at:at] = out[max(0, at - 8 * rng.randrange(4)) : at]
        elif rng.random() < 0.3:
            del out[at:]
    return bytes(out)


def _instructions(rng: random.Random, number: int) -> str:
    """A program, damaged or made of nothing but noise."""
    made = structured.program(number)
    if rng.random() < 0.2:
        data = rng.randbytes(rng.randrange(0, 200))
    else:
        data = damaged(rng, encode(made.insns))
    options = {
        "prog_type": rng.choice(list(PROG_TYPES)) if rng.random() < 0.5 else made.prog_type,
        "kernel": rng.choice(KERNELS),
        "privileged": rng.random() < 0.8,
        "strict": rng.random() < 0.1,
        "log": rng.choice((0, 0, 0, 1, 2)),
        "keep_states": rng.random() < 0.1,
        "patience": 50_000,
        "declared": made.declared,
    }
    try:
        insns = decode(data)
    except EncodingError as error:
        return str(error) and "no program"
    verdict = verify(insns, maps=structured.MAPS, map_of=made.map_of, **options)  # type: ignore[arg-type]
    assert verdict.kind != "reject" or verdict.story()
    return verdict.kind


def _line(rng: random.Random, number: int) -> str:
    """A line of a batch, with values where others belong."""
    made = structured.program(number)
    maps = [{"type": 1, "key_size": 4, "value_size": 16, "max_entries": 8}]
    line: dict[str, object] = {
        "id": number, "insns": encode(made.insns).hex(), "prog_type": rng.choice((1, 2, 5, 6)), "maps": maps,
        "relocs": [{"insn": at, "map": 0, "kind": kind} for at, (_, kind, _) in made.map_of.items()], "kernel": "6.12",
    }  # fmt: skip
    for _ in range(rng.choice((0, 1, 1, 2))):
        wrong = rng.choice((None, -1, 1 << 70, "", "x", [], {}, [1], {"type": 1}, [[]], 1.5, True))
        line[rng.choice((*line, "btf", "func_info", "kfuncs", "prog_flags", "expected_attach_type"))] = wrong
    if "id" not in line:
        return "no program"
    answer = json.loads(json.dumps(jsonl._answer(json.loads(json.dumps(line)), None)))
    return str(answer["verdict"])


def _object(rng: random.Random, number: int) -> str:
    found = link.read("x.o", damaged(rng, rng.choice(OBJECTS)), prog_type=rng.choice(("", "XDP")))
    for program in found.programs:
        verdict = found.judge(program)
        assert verdict.story(place=program.place) or verdict.ok
    return "object"


def _types(rng: random.Random, number: int) -> str:
    data = link.ObjectElf("x.o", OBJECTS[0]).content(".BTF")
    types = ProgramTypes.parse(damaged(rng, data))
    for id in range(len(types.rows)):
        for ask in (types.size_of, types.function, types.target):
            try:
                ask(id)
            except BadTypes as error:
                assert str(error)
    return "types"


_KINDS = (_instructions, _instructions, _instructions, _line, _object, _types)


def test_every_input_is_answered() -> None:
    found = Counter[str]()
    with limited():
        for number in range(SEED, SEED + TRIES):
            rng = random.Random(number)
            start_clock(SECONDS)
            try:
                found[rng.choice(_KINDS)(rng, number)] += 1
            except PbtError as error:
                assert str(error)
                found["told"] += 1
            except (Exception, TooSlow) as error:
                pytest.fail(f"PBT_FUZZ_SEED={number}: {type(error).__name__}: {error}")
    assert (
        TRIES < 1000
        or min(found[kind] for kind in ("accept", "reject", "object", "types", "told")) > TRIES // 200
    ), found

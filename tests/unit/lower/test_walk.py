"""Loads through pointers whose structure the verifier knows: which there are, and that it takes them for the same."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from pbt.host.btf import Btf
from pbt.lower.walk import Found, find
from pbt.source import PbtError
from pbt.types import Pointer, Struct
from pbt.verifier_sim.env import Refuse
from pbt.verifier_sim.kerneltypes import KernelTypes
from tests.unit.host.test_btf import Maker


def _made() -> Maker:
    """struct outer { int n[4]; union { struct inner *p; u64 word; }; struct inner i[2]; char t[6]; u32 b:3; void *v; }"""
    m = Maker()
    number = m.add(1, "int", 4, 1 << 24 | 32)
    word = m.add(1, "u64", 8, 64)
    char = m.add(1, "char", 1, 1 << 24 | 8)
    inner = m.add(4, "inner", 16, m.text("x"), number, 0, m.text("next"), 5, 64, count=2)  # 4
    pointer = m.add(2, "", inner)  # 5
    numbers, pair, text = (
        m.add(3, "", 0, of, number, count) for of, count in ((number, 4), (inner, 2), (char, 6))
    )
    union = m.add(5, "", 8, m.text("p"), pointer, 0, m.text("word"), word, 0, count=2)
    void = m.add(2, "", 0)
    rcu = m.add(2, "", m.add(18, "rcu", inner))
    percpu = m.add(2, "", m.add(18, "percpu", inner))
    user = m.add(2, "", m.add(18, "user", inner))
    members = [
        ("n", numbers, 0), ("", union, 128), ("i", pair, 192), ("t", text, 448), ("b", number, 3 << 24 | 496),
        ("v", void, 512), ("r", rcu, 576), ("c", percpu, 640), ("u", user, 704),
    ]  # fmt: skip
    words = [part for name, kind, at in members for part in (m.text(name) if name else 0, kind, at)]
    m.add(4, "outer", 96, *words, count=len(members), flag=1)
    return m


BTF = Btf(_made().bytes())


def _outer() -> Struct:
    found = BTF.struct("struct outer")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("offset", "size", "found"),
    [
        (0, 4, Found()), (12, 4, Found()), (8, 8, Found()), (12, 8, None),  # not beyond an array of numbers
        (16, 8, Found(True)), (16, 4, None), (24, 4, Found()), (40, 4, Found()), (28, 4, None),  # holes
        (48, 8, Found(True)), (56, 2, Found()), (60, 1, Found()), (61, 2, None),
        (62, 1, None), (62, 2, None),  # bits
        (64, 8, Found(True)), (80, 8, Found(True)), (88, 8, Found(True)), (72, 8, Found(True, None, True)),
        (96, 8, None), (92, 8, None), (2, 4, None),
    ],
)  # fmt: skip
def test_what_lies_where(offset: int, size: int, found: Found | None) -> None:
    made = find(_outer(), offset, size)
    assert (made and (made.pointer, made.null)) == (found and (found.pointer, found.null))


def test_pointers_lead_on_unless_to_other_memory() -> None:
    targets = {at: getattr(find(_outer(), at, 8), "target", None) for at in (16, 48, 64, 72, 80, 88)}
    inner = BTF.struct("struct inner")
    assert targets == {16: inner, 48: inner, 64: None, 72: inner, 80: None, 88: None}


# --- against the rules of the verifier -----------------------------------------------------------


def _kernel() -> Btf:
    try:
        types = Btf.live()
        assert types.count
    except (OSError, PbtError):
        pytest.skip("this kernel has no BTF")
    return types


def _places(struct: Struct, rng: random.Random) -> Iterator[tuple[int, int]]:
    for _ in range(40):
        size = rng.choice((1, 2, 4, 8))
        yield rng.randrange(0, struct.size + 8) // size * size, size


def test_the_verifier_takes_what_is_found_for_the_same() -> None:
    types, rng = _kernel(), random.Random(4)
    rules, named, numbers, pointers = KernelTypes(types, exact=True), types.names("struct"), 0, 0
    for name in ["task_struct", "sock", "sk_buff", "file", "dentry", *rng.sample(named, 150)]:
        struct = types.struct(f"struct {name}")
        for offset, size in _places(struct, rng) if struct is not None and struct.size else ():
            found = find(struct, offset, size)
            if found is None:
                continue
            member = rules.walk(name, offset, size)  # no Refuse
            assert member.pointer == found.pointer, (name, offset, size)
            if found.target is not None:
                assert found.target.name in (f"struct {member.struct}", f"union {member.struct}", "struct (anon)", "union (anon)")  # fmt: skip
                assert not member.tags & {"user", "percpu"}
                assert (
                    found.null or "rcu" not in member.tags or member.name in ("real_parent", "group_leader")
                )
            numbers, pointers = numbers + (not found.pointer), pointers + found.pointer
    assert numbers > 500 and pointers > 50


def test_most_members_are_found() -> None:
    """What is left to probe reads is the exception."""
    task = _kernel().struct("struct task_struct")
    assert task is not None
    plain = [m for m in task.flat() if not m.bit_size and m.type.size in (1, 2, 4, 8)]
    missing = [
        m.name
        for m in plain
        if not isinstance(m.type, (Struct,)) and find(task, m.offset, m.type.size) is None
    ]
    assert not missing and any(isinstance(m.type, Pointer) for m in plain)


def test_refusals_are_the_verifiers() -> None:
    """Between members and across them it refuses, too."""
    rules = KernelTypes(BTF, exact=True)
    for offset, size in ((12, 8), (16, 4), (28, 4), (92, 8), (96, 8)):
        with pytest.raises(Refuse):
            rules.walk("outer", offset, size)

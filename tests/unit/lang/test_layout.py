"""Layout of structs against ctypes, which follows the machine's own compiler."""

from __future__ import annotations

import ctypes as c

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbt.lang.layout import Layout, Part, lay_out

KINDS = {1: c.c_uint8, 2: c.c_uint16, 4: c.c_uint32, 8: c.c_uint64}
SIZES = st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=8)


@given(SIZES, st.booleans())
def test_as_the_compiler_does(sizes: list[int], union: bool) -> None:
    fields = [(f"m{n}", KINDS[size]) for n, size in enumerate(sizes)]
    theirs = type("X", (c.Union if union else c.Structure,), {"_fields_": fields})
    ours = lay_out([Part(size, size) for size in sizes], union)
    assert (ours.size, ours.align) == (c.sizeof(theirs), c.alignment(theirs))
    assert [at for at, _ in ours.places] == [getattr(theirs, name).offset for name, _ in fields]


@pytest.mark.parametrize(
    ("parts", "answer"),  # as GCC 12 lays them out
    [
        ([Part(8, 8, 1), Part(4, 4), Part(1, 1)], Layout(((0, 0), (4, 0), (8, 0)), 16, 8)),
        ([Part(1, 1), Part(2, 2, 1)], Layout(((0, 0), (0, 8)), 2, 2)),
        ([Part(4, 4, 20), Part(4, 4, 20), Part(1, 1, 3)], Layout(((0, 0), (4, 0), (6, 4)), 8, 4)),
        ([Part(1, 1, 3), Part(8, 8, 40)], Layout(((0, 0), (0, 3)), 8, 8)),
        ([Part(2, 2), Part(4, 4, 10, named=False)], Layout(((0, 0), (0, 16)), 4, 2)),
    ],
)
def test_bitfields(parts: list[Part], answer: Layout) -> None:
    assert lay_out(parts) == answer


@pytest.mark.parametrize(
    ("parts", "packed", "align", "answer"),
    [
        ([Part(1, 1), Part(8, 8)], True, 1, Layout(((0, 0), (1, 0)), 9, 1)),
        ([Part(4, 4)], False, 16, Layout(((0, 0),), 16, 16)),
        ([Part(1, 1), Part(4, 16)], False, 1, Layout(((0, 0), (16, 0)), 32, 16)),
        ([Part(1, 1), Part(4, 4, packed=True)], False, 1, Layout(((0, 0), (1, 0)), 5, 1)),
        ([Part(4, 4, 20), Part(4, 4, 20)], True, 1, Layout(((0, 0), (2, 4)), 5, 1)),
        ([Part(4, 4, 3), Part(4, 4, 0, named=False), Part(4, 4, 3)], False, 1, Layout(((0, 0), (4, 0), (4, 0)), 8, 4)),
        ([], False, 1, Layout((), 0, 1)),
    ],
)  # fmt: skip
def test_attributes(parts: list[Part], packed: bool, align: int, answer: Layout) -> None:
    assert lay_out(parts, packed=packed, align=align) == answer

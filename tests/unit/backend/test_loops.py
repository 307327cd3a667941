"""How deep in loops blocks are."""

from __future__ import annotations

import pytest

from pbt.backend.loops import depths
from pbt.backend.machine import MBlock, MEnd


@pytest.mark.parametrize(
    ("graph", "deep"),
    [
        ("a:b b:c c:", ""),
        ("a:bd b: c:b d:c", ""),  # c and d stand behind b, as what hardly ever runs does
        ("a:b b:bc c:", "b"),
        ("a:b b:cd c:b d:", "bc"),
        ("a:b b:cd d: c:eb e:b", "bce"),
        ("a:b b:ce c:cd d:b e:", "bccd"),
        ("a:b b:c c:de d:b e:fc f:", "bccdee"),
        ("a:bc b:d c:b d:b", "bd"),
        ("a:b b:c c:bd d:be e:", "bcd"),  # two ways back are one loop
    ],
)
def test_depths(graph: str, deep: str) -> None:
    rows = [row.partition(":") for row in graph.split()]
    blocks = [MBlock(name, (), MEnd(None, to[:1], to[1:])) for name, _, to in rows]
    found = {block.name: depth for block, depth in zip(blocks, depths(blocks), strict=True)}
    assert found == {block.name: deep.count(block.name) for block in blocks}

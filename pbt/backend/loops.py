"""Blocks of machine code → in how many loops each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.backend.machine import MBlock


def depths(blocks: Sequence[MBlock]) -> list[int]:
    """For each block the number of loops it is in. Where blocks stand says nothing: those that hardly ever run stand
    behind what follows them."""
    targets = {block.name: block.end.targets for block in blocks}
    before: dict[str, list[str]] = {name: [] for name in targets}
    for name, following in targets.items():
        for target in following:
            before[target].append(name)
    found = dict.fromkeys(targets, 0)
    for head, tails in _returns(blocks[0].name, targets).items():
        for name in _body(head, tails, before):
            found[name] += 1
    return list(found.values())


def _returns(entry: str, targets: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Heads of loops, each with the blocks that jump back to it from what it leads to."""
    heads: dict[str, list[str]] = {}
    seen, on_path = {entry}, {entry}
    path = [(entry, list(targets[entry]))]
    while path:
        name, left = path[-1]
        if not left:
            on_path.discard(name)
            path.pop()
            continue
        target = left.pop()
        if target in on_path:
            heads.setdefault(target, []).append(name)
        elif target not in seen:
            seen.add(target)
            on_path.add(target)
            path.append((target, list(targets[target])))
    return heads


def _body(head: str, tails: Sequence[str], before: Mapping[str, Sequence[str]]) -> set[str]:
    """The head and all blocks from which the tails are reached without it; `before`: those that jump to a block."""
    body, todo = {head}, list(tails)
    while todo:
        name = todo.pop()
        if name not in body:
            body.add(name)
            todo += before[name]
    return body

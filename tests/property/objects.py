"""Programs with objects, lists and trees, changed at random: statements left out, doubled, exchanged, replaced."""

from __future__ import annotations

import random
import re

from pbt.source import ScriptError
from tests.unit.verifier_sim.objects import Case, cases, expanded, made

_NUMBERS = (0, 1, 4, 8, 16, 24, 32, 64, -8)
_NUMBER = re.compile(r"(?<== )-?\d+(?![\[\d])|(?<=[+-])\d+(?=\))")


def _statements(text: str) -> tuple[str, list[str]]:
    head, colon, rest = text.partition(": ")
    if colon and head.isupper():
        return f"{head}: ", expanded(rest).split("; ")
    return "", expanded(text).split("; ")


_PROGRAMS = [_statements(case.text) for case in cases()]
_ANY = sorted({line for _, lines in _PROGRAMS for line in lines if ":" not in line and "goto" not in line})


def mutant(seed: int) -> Case:
    """One program; the same for the same seed. Those that are no programs any more are tried anew."""
    rng = random.Random(seed)
    while True:
        head, lines = rng.choice(_PROGRAMS)
        lines = lines[:]
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
            _change(rng, lines)
        try:
            return made("", head + "; ".join(lines))
        except ScriptError:
            continue


def _change(rng: random.Random, lines: list[str]) -> None:
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    if ":" in lines[at] or ":" in lines[other]:  # labels stay where they are
        return
    what = rng.randrange(6)
    if what == 0 and len(lines) > 2:
        del lines[at]
    elif what == 1:
        lines.insert(at, lines[at])
    elif what == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif what == 3:
        lines[at] = rng.choice(_ANY)
    elif what == 4:
        lines.insert(at, rng.choice(_ANY))
    else:
        lines[at] = _NUMBER.sub(lambda _: str(rng.choice(_NUMBERS)), lines[at], count=1)

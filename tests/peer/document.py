"""docs/differences.md, from the rules and from differences.txt."""

from __future__ import annotations

from tests.peer.cases import HERE, KINDS, Difference, cases, differences
from tests.peer.rules import JSON, OLD, TEXT

PATH = HERE.parents[1] / "docs" / "differences.md"

HEAD = """# Differences from bpftrace

`tests/peer` runs {count} scripts through pbt and through bpftrace: the installed release, and any other
that the environment variable `PBT_PEER` names. What they print must be the same, but for the differences
below. Measured with 0.17 and 0.27: when something changed between them is said only where it is known.
This page is made from `tests/peer/differences.txt` by `pytest tests/peer --bless`.

## What is not compared

{rules}

"""
SHOWN = 1  # scripts of a difference that the page prints


def document() -> str:
    rules = [f"- before {_version(rule.until)}, {rule.what}" for rule in OLD]
    rules += [
        f"- {rule.what}" + (f" (since {_version(rule.since)})" if rule.since else "")
        for rule in dict.fromkeys(TEXT + JSON)
    ]
    found = differences()
    parts = [
        f"## {title}\n\n" + "\n".join(map(_difference, chosen))
        for kind, title in KINDS.items()
        if (chosen := [d for d in found if d.kind == kind])
    ]
    return HEAD.format(count=len(cases()), rules="\n".join(rules)) + "\n".join(parts)


def _difference(difference: Difference) -> str:
    """A heading, the reason, and what one of the scripts prints."""
    names = list(difference.hunks)
    shown = "\n".join(_example(name, difference) for name in names[:SHOWN])
    more = f"\nAlso in: {', '.join(f'`{name}`' for name in names[SHOWN:])}.\n" if names[SHOWN:] else ""
    title = difference.name.replace("-", " ")
    return f"### {title} ({_range(difference)})\n\n{difference.why}\n\n{shown}{more}"


def _range(difference: Difference) -> str:
    since, before = difference.since, difference.before
    if since == (0,) and before == (99,):
        return "all releases"
    if since == (0,):
        return f"before {_version(before)}"
    return f"since {_version(since)}" if before == (99,) else f"{_version(since)} to {_version(before)}"


def _version(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _example(name: str, difference: Difference) -> str:
    lines = [f"- {line}" for hunk in difference.hunks[name] for line in hunk.peer]
    ours = [f"+ {line}" for hunk in difference.hunks[name] for line in hunk.ours]
    return f"`{name}`:\n\n```diff\n" + "\n".join(lines + ours) + "\n```\n"

"""docs/kernels.md: which types of probes work in which kernel, as the lab found."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.lab import kernels
from tests.lab.rows import MESSAGES, ROWS, Row

HERE = "development"
FOUND = kernels.PROJECT / "tests/lab/found.json"
PAGE = kernels.PROJECT / "docs/kernels.md"
TOOLS = kernels.PROJECT / "tests/lab/tools.json"
_INTRO = """\
# Kernels

Made by `pytest tests/lab --bless` from what each script of `tests/lab/rows.py` and each tool did in each kernel;
do not edit. Debian's kernels run in QEMU under software emulation; "development" is the kernel that pbt is
developed on, which its host keeps from doing several things.

- *yes*: attached, fired and showed what it had to. *no*: refused; the number leads to the reason below.
- pbt finds out by trying what a kernel can do: `pbt --info` shows it for yours.

"""
_MESSAGES = (
    "### Messages",
    "",
    "*yes*: the user was told what is wrong, and the rest of the script ran where it had to.",
    "",
)
_OTHERS = ("### Other machines", "", "Compiled there, by the same code, in a userland of that machine.", "")
_TOOLS = """\
## Tools

How many probes are attached: `debian/` are the scripts of Debian's package `bpftrace` (0.17), unchanged, `pbt/` those
of `pbt tool`. Every program that was compiled is judged by the built-in verifier, too: it accepts what the kernel
accepts. Some of the published ones trace functions that newer kernels do not have any more.

"""


def summary(kernel: str, found: Mapping[str, Any]) -> str:
    """One line for the terminal, and one for each row that failed."""
    rows = found["rows"]
    good = [name for name, row in rows.items() if row["ok"]]
    bad = [f"  {name}: {_reason(row['text'])}" for name, row in rows.items() if not row["ok"]]
    seconds = sum(row["seconds"] for row in rows.values())
    head = f"{kernel} ({found['release']}): {len(good)} of {len(rows)} rows, {seconds:.0f} s"
    return "\n".join([head, *bad])


def save(found: Mapping[str, Any]) -> None:
    """Keep outcomes (those of other kernels, and of rows that were not run, stay as they were) and write the page."""
    known = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    for kernel, outcome in found.items():
        cells = {
            name: "" if row["ok"] else _cell(kernel, name, outcome) for name, row in outcome["rows"].items()
        }
        names = {row.name for row in (*ROWS, *MESSAGES)}
        before = {n: cell for n, cell in known.get(kernel, {}).get("rows", {}).items() if n in names}
        rows = {**before, **cells}
        known[kernel] = {"release": outcome["release"], "absent": outcome["absent"], "rows": rows}
    FOUND.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    write()


def _cell(kernel: str, name: str, outcome: Mapping[str, Any]) -> str:
    """Why a row failed: its feature, if that is what the kernel lacks, else what was said."""
    wanted = next(row.feature for row in (*ROWS, *MESSAGES) if row.name == name)
    for feature in wanted.split():
        if feature in outcome["absent"]:
            return f"no {feature}: {kernels.lacks(kernel, feature)}"
    return _reason(outcome["rows"][name]["text"])


def _reason(text: str) -> str:
    """The last words of an error, without the place in the script."""
    errors = re.findall(r"ERROR: (.*)", text)
    hints = re.findall(r"HINT: (.*)", text)
    return "; ".join([*errors[-1:], *hints[-1:]]) or f"showed {text.strip()[:80]!r}"


def write() -> None:
    """Write the page from what is kept."""
    PAGE.write_text(page(json.loads(FOUND.read_text()), json.loads(TOOLS.read_text())))


def page(known: Mapping[str, Any], tools: Mapping[str, Mapping[str, int | str]]) -> str:
    """The page, from what is known of each kernel."""
    names = [name for name in (*kernels.KERNELS, HERE) if name in known]
    native = [name for name in names if name == HERE or kernels.native(name)]
    others = [name for name in names if name not in native]
    notes: dict[str, int] = {}

    def rows(several: Sequence[Row], columns: Sequence[str]) -> list[str]:
        cells = [[known[name]["rows"].get(row.name, "not run yet") for name in columns] for row in several]
        shown = [[_shown(cell, notes) for cell in each] for each in cells]
        return [_row(row.name, each) for row, each in zip(several, shown, strict=True)]

    def head(columns: Sequence[str]) -> list[str]:
        return [*_head("Probe", columns), _row("*release*", (known[name]["release"] for name in columns))]

    types = [*head(native), *rows(ROWS, native), "", *_MESSAGES, *head(native), *rows(MESSAGES, native)]
    tried = [row for row in (*ROWS, *MESSAGES) if all(row.name in known[name]["rows"] for name in others)]
    if others:
        types += ["", *_OTHERS, *head(others), *rows(tried, others)]
    types += ["", "### Reasons", "", *_listed(notes)]
    absent = [_row(name, [", ".join(known[name]["absent"]) or "nothing"]) for name in names]
    features = ["## Features that are absent", "", *_head("Kernel", [""]), *absent]
    return _INTRO + "\n".join([*types, "", *features, "", _TOOLS + "\n".join(_tools(tools))]) + "\n"


def _tools(tools: Mapping[str, Mapping[str, int | str]]) -> list[str]:
    """Tool × kernel."""
    names = [name for name in kernels.KERNELS if name in tools]
    notes: dict[str, int] = {}
    scripts = sorted({script for name in names for script in tools[name]})
    rows = [_row(s, (_attached(tools[name].get(s, "not run"), notes) for name in names)) for s in scripts]
    return [*_head("Tool", names), *rows, "", "### Why not", "", *_listed(notes)]


def _row(name: str, cells: Iterable[str]) -> str:
    return " | ".join((f"| {name}", *cells)) + " |"


def _head(name: str, columns: Sequence[str]) -> list[str]:
    return [_row(name, columns), "|---" * (1 + len(columns)) + "|"]


def _listed(notes: Mapping[str, int]) -> list[str]:
    return [f"{number}. {text}" for text, number in notes.items()]


def _attached(outcome: int | str, notes: dict[str, int]) -> str:
    return str(outcome) if isinstance(outcome, int) else _shown(outcome.replace("ERROR: ", ""), notes)


def _shown(reason: str, notes: dict[str, int]) -> str:
    if not reason:
        return "yes"
    return f"no ({notes.setdefault(reason, len(notes) + 1)})"

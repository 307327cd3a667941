"""docs/kernels.md: which types of probes work in which kernel, as the lab found."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.lab import kernels
from tests.lab.rows import ROWS

HERE = "development"
FOUND = kernels.PROJECT / "tests/lab/found.json"
PAGE = kernels.PROJECT / "docs/kernels.md"
_INTRO = """\
# Kernels

Made by `python -m tests.lab --kernel all --here --save` from what each script of `tests/lab/rows.py` did in
each kernel; do not edit. Debian's kernels run in QEMU under software emulation; "development" is the kernel
that pbt is developed on, which its host keeps from doing several things.

- *yes*: attached, fired and showed what it had to. *no*: refused; the number leads to the reason below.
- pbt finds out by trying what a kernel can do: `pbt --info` shows it for yours.

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
    """Keep outcomes (those of other kernels stay as they were) and write the page."""
    known = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    for kernel, outcome in found.items():
        cells = {
            name: "" if row["ok"] else _cell(kernel, name, outcome) for name, row in outcome["rows"].items()
        }
        known[kernel] = {"release": outcome["release"], "absent": outcome["absent"], "rows": cells}
    FOUND.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page(known))


def _cell(kernel: str, name: str, outcome: Mapping[str, Any]) -> str:
    """Why a row failed: its feature, if that is what the kernel lacks, else what was said."""
    feature = next(row.feature for row in ROWS if row.name == name)
    if feature in outcome["absent"]:
        return f"no {feature}: {kernels.lacks(kernel, feature)}"
    return _reason(outcome["rows"][name]["text"])


def _reason(text: str) -> str:
    """The last words of an error, without the place in the script."""
    errors = re.findall(r"ERROR: (.*)", text)
    hints = re.findall(r"HINT: (.*)", text)
    return "; ".join([*errors[-1:], *hints[-1:]]) or f"showed {text.strip()[:80]!r}"


def page(known: Mapping[str, Any]) -> str:
    """The page, from what is known of each kernel."""
    names = [name for name in (*kernels.KERNELS, HERE) if name in known]
    notes: dict[str, int] = {}
    lines = [
        "| Probe | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
        "| *release* | " + " | ".join(known[name]["release"] for name in names) + " |",
    ]
    for row in ROWS:
        cells = [_shown(known[name]["rows"].get(row.name, "not run yet"), notes) for name in names]
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    reasons = [f"{number}. {text}" for text, number in notes.items()]
    absent = [f"| {name} | {', '.join(known[name]['absent']) or 'nothing'} |" for name in names]
    features = ["## Features that are absent", "", "| Kernel | |", "|---|---|", *absent]
    return _INTRO + "\n".join([*lines, "", "## Reasons", "", *reasons, "", *features]) + "\n"


def _shown(reason: str, notes: dict[str, int]) -> str:
    if not reason:
        return "yes"
    return f"no ({notes.setdefault(reason, len(notes) + 1)})"

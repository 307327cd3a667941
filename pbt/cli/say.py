"""Messages for the user on standard error, in colour where that is a terminal or BPFTRACE_COLOR wants it."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

_COLORS = {"ERROR": 31, "BUG": 31, "WARNING": 33, "HINT": 36}  # SGR parameters of ECMA-48
_LEVEL = r"(?m)^((?:[^\s:][^:\n]*:\d+:\d+: )?)(ERROR|BUG|WARNING|HINT):"


def say(text: str) -> None:
    """Write lines; nobody there to read them is no matter."""
    shown = painted(text) if _wanted() else text
    with suppress(OSError):
        print(shown, file=sys.stderr, flush=True)


def painted(text: str) -> str:
    """The text with the words for its levels in colour."""
    if not any(f"{level}:" in text for level in _COLORS):
        return text
    import re

    return re.sub(_LEVEL, lambda match: f"{match[1]}\x1b[{_COLORS[match[2]]}m{match[2]}\x1b[0m:", text)


def _wanted() -> bool:
    mode = os.environ.get("BPFTRACE_COLOR", "auto")
    return mode == "always" or (mode != "never" and sys.stderr.isatty())

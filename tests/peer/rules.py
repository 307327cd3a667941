"""What is not compared: formats that bpftrace has changed, and what has no defined order.

`OLD` rules bring a peer's output up to date: releases before `until` print the old form. `LOOSE` rules
are applied to both outputs where the peer's release is `since` or newer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import groupby
from typing import NamedTuple

from tests.peer.cases import Version

Lines = list[str]


class Old(NamedTuple):
    """A change of format."""

    until: Version
    what: str
    apply: Callable[[Lines], Lines]


class Loose(NamedTuple):
    """What does not matter."""

    since: Version
    what: str
    apply: Callable[[Lines], Lines]


# --- old formats -------------------------------------------------------------------------------------


def _start(lines: Lines) -> Lines:
    return lines[1:] if lines and re.match(r"Attaching \d+ probes?\.\.\.$", lines[0]) else lines


def _stats(lines: Lines) -> Lines:
    old = re.compile(r"^(@.*: )count (\S+), average (\S+), total (\S+)$")
    return [old.sub(r"\1{ .count = \2, .average = \3, .total = \4 }", line) for line in lines]


def _header(lines: Lines) -> Lines:
    """The blank after a histogram's name; not that after a map's name whose value is empty."""
    return [
        line[:-1] if re.match(r"@.*: $", line) and re.match(r"[\[(]", following) else line
        for line, following in zip(lines, [*lines[1:], ""], strict=True)
    ]


def _frames(lines: Lines) -> Lines:
    """Frames of a stack within a key, which lie between `@[` and `]: value`."""
    found, inside = [], False
    for line in lines:
        begins = line.startswith("@") and line.endswith(("[", ", "))
        inside = begins or (inside and not line.startswith("]"))
        found.append("    " + line if inside and re.match(r"    \S", line) else line)
    return found


OLD = (
    Old((0, 23), "`Attaching N probes...` is the first line of standard output", _start),
    Old((0, 22), "statistics are `count 2, average 6, total 13`", _stats),
    Old((0, 22), "the name of a histogram is followed by a blank", _header),
    Old((0, 22), "frames of a stack within a key are indented by four blanks, not eight", _frames),
)


# --- what does not matter ----------------------------------------------------------------------------


def _full(lines: Lines) -> Lines:
    return [line for line in lines if line]


def _entry(line: str) -> tuple[str, str] | None:
    """The map and the value of a line that prints one entry."""
    match = re.match(r"(@\w*)\[.*\]: (.*)$", line)
    return (match[1], match[2]) if match else None


def _by(lines: Lines, kind: Callable[[str], object]) -> Lines:
    """Neighbours of one kind, in the order of their text."""
    return [line for _, group in groupby(lines, lambda line: kind(line) or line) for line in sorted(group)]


def _ties(lines: Lines) -> Lines:
    return _by(lines, _entry)


def _short(lines: Lines) -> Lines:
    def kind(line: str) -> object:
        entry = _entry(line)
        short = entry and re.fullmatch(r"-?\d{1,9}|true|false", entry[1])
        return entry[0] if entry and short else None

    return _by(lines, kind)


def _names(lines: Lines) -> Lines:
    return [line.replace("imaxabs", "labs").replace("/usr/lib/", "/lib/") for line in lines]


NAMES = Loose(
    (0, 25),
    "which of several names of one address, or of one file, is shown: imaxabs is labs, /usr/lib is /lib",
    _names,
)
TEXT = (
    NAMES,
    Loose((), "empty lines: older releases put them after averages", _full),
    Loose((), "the order of a map's entries with equal values", _ties),
    Loose(
        (0, 25), "the order of entries with small values: values of less than 64 bits come unsorted", _short
    ),
)


def _canonical(lines: Lines) -> Lines:
    """JSON lines by their values; that which tells how many probes there are first."""
    found = [_value(line) for line in lines if line]
    return sorted(found, key=lambda line: '"attached_probes"' not in line)


def _value(line: str) -> str:
    try:
        value = json.loads(line)
    except ValueError:
        return line
    if isinstance(value, dict):
        value.pop("count", None)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


JSON = (
    NAMES,
    Loose((), "blanks in JSON, order of members, `count`, place of `attached_probes`", _canonical),
)


def modern(lines: Lines, version: Version, as_json: bool) -> Lines:
    """Output of a release of bpftrace in the format of 0.27."""
    for rule in OLD[:1] if as_json else OLD:
        lines = rule.apply(lines) if version < rule.until else lines
    return lines


def comparable(lines: Lines, peer: Version, as_json: bool) -> Lines:
    """Output without what does not matter when it is compared with a peer's."""
    for rule in JSON if as_json else TEXT:
        lines = rule.apply(lines) if peer >= rule.since else lines
    return lines

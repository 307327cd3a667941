"""What bpftrace changed in its output between releases: each change a rule that brings old output up to date."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import groupby
from typing import NamedTuple

from tests.peer.cases import Version

Lines = list[str]


class Rule(NamedTuple):
    """A change of format: releases before `until` print the old form; `apply` makes the new one of it."""

    name: str
    until: Version
    what: str
    apply: Callable[[Lines], Lines]


def _start(lines: Lines) -> Lines:
    return lines[1:] if lines and re.match(r"Attaching \d+ probes?\.\.\.$", lines[0]) else lines


def _stats(lines: Lines) -> Lines:
    """`count 2, average 6, total 13` → `{ .count = 2, .average = 6, .total = 13 }`"""
    old = re.compile(r"^(@.*: )count (\S+), average (\S+), total (\S+)$")
    return [old.sub(r"\1{ .count = \2, .average = \3, .total = \4 }", line) for line in lines]


def _header(lines: Lines) -> Lines:
    return [line[:-1] if re.match(r"@.*: $", line) else line for line in lines]


def _frames(lines: Lines) -> Lines:
    """Frames of a stack within a key, four blanks further in."""
    found, inside = [], False
    for line in lines:
        inside = bool(re.match(r"@\w*\[.*,?$", line)) and "]: " not in line or inside and not line.startswith("]")
        found.append("    " + line if inside and re.match(r"    \S", line) else line)
    return found


def _blank(lines: Lines) -> Lines:
    return [line for line in lines if line]


def _ties(lines: Lines) -> Lines:
    """Entries of a map that have the same value, in the order of their text."""

    def value(line: str) -> object:
        match = re.match(r"(@\w*)\[.*\]: (.*)$", line)
        return match.groups() if match else line

    return [line for _, group in groupby(lines, value) for line in sorted(group)]


def _json(lines: Lines) -> Lines:
    return [_canonical(line) for line in lines if line]


def _canonical(line: str) -> str:
    try:
        value = json.loads(line)
    except ValueError:
        return line
    if isinstance(value, dict):
        value.pop("count", None)
    return json.dumps(value, ensure_ascii=False, sort_keys=value.get("type") in ("map", "stats", "hist"))


RULES = (
    Rule("start line", (0, 23), "`Attaching N probes...` was the first line of standard output", _start),
    Rule("stats", (0, 22), "statistics were `count 2, average 6, total 13`", _stats),
    Rule("header", (0, 22), "the name of a histogram was followed by a blank", _header),
    Rule("frames", (0, 22), "frames of a stack within a key were indented by four blanks", _frames),
)
NEUTRAL = (
    Rule("empty lines", (99,), "empty lines are not compared: older releases put them after averages", _blank),
    Rule("equal values", (99,), "entries of a map with equal values have no order", _ties),
)
JSON = (
    Rule("blanks in JSON", (99,), "JSON is compared as values: blanks, order of map keys, `count`", _json),
)


def modern(lines: Lines, version: Version, as_json: bool) -> Lines:
    """Output of a release as 0.27 would print it, without what is not to be compared."""
    rules = RULES[:1] + JSON if as_json else RULES + NEUTRAL
    for rule in rules:
        if version < rule.until:
            lines = rule.apply(lines)
    return lines

"""The scripts that pbt and its peers run, and the differences between them that are accepted: data, read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
MARK = "//// "

_FIRST = re.compile(r"\w+:|(?i:begin|end)\b|(struct|union|enum|macro|fn|config)\b|let @|#|//|/\*")

Version = tuple[int, ...]


class Case(NamedTuple):
    """One script, and how it is run: parameters, environment, options, a load for its probes.

    `status` is the exit status of pbt.
    """

    name: str
    text: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()
    load: str = ""
    status: int = 0

    @property
    def json(self) -> bool:
        return "json" in self.options


def cases() -> list[Case]:
    """All scripts of the folder `scripts`, in order of file and place."""
    return [case for path in sorted((HERE / "scripts").glob("*.bt")) for case in _cases(path)]


def _cases(path: Path) -> Iterator[Case]:
    _, *parts = re.split(rf"^{MARK}", path.read_text(), flags=re.M)
    for part in parts:
        head, _, text = part.partition("\n")
        name, *settings = shlex.split(head)
        given = dict(setting.split("=", 1) for setting in settings)
        assert given.keys() <= {"args", "env", "options", "load", "status"}, f"{path.name}: {head}"
        yield Case(
            name,
            _whole(text.strip("\n")),
            tuple(shlex.split(given.get("args", ""))),
            tuple(tuple(word.split("=", 1)) for word in shlex.split(given.get("env", ""))),  # type: ignore[misc]
            tuple(given.get("options", "").split()),
            given.get("load", ""),
            int(given.get("status", 0)),
        )


def _whole(text: str) -> str:
    """A script that does not begin with a probe, a definition or a comment is the body of a BEGIN."""
    return text if _FIRST.match(text) else f"BEGIN {{\n{text}\nexit();\n}}"


# --- accepted differences ----------------------------------------------------------------------------

KINDS = {
    "old": "What bpftrace itself has changed since",
    "defect": "Defects of bpftrace that pbt does not copy",
    "deliberate": "What pbt does otherwise on purpose",
}


class Hunk(NamedTuple):
    """Lines of the peer, and the lines that pbt has in their place."""

    peer: tuple[str, ...]
    ours: tuple[str, ...]


class Difference(NamedTuple):
    """One reason why outputs differ, with every script that shows it.

    `since`, `before`: the peers that it is about, as a range of versions.
    """

    name: str
    kind: str
    since: Version
    before: Version
    why: str
    hunks: dict[str, tuple[Hunk, ...]]

    def about(self, version: Version) -> bool:
        return self.since <= version < self.before


def version(text: str) -> Version:
    return tuple(map(int, re.findall(r"\d+", text)))


def differences() -> list[Difference]:
    """What differences.txt says; its first lines describe the format."""
    _, *parts = re.split(r"^== ", (HERE / "differences.txt").read_text(), flags=re.M)
    return [_difference(part) for part in parts]


def _difference(part: str) -> Difference:
    head, *lines = part.rstrip("\n").split("\n")
    match = re.fullmatch(r"(\S+): (\w+), peers (.+)", head)
    assert match and match[2] in KINDS, head
    since, _, before = match[3].partition("..")
    why: list[str] = []
    hunks: dict[str, list[str]] = {}
    script = ""
    for line in lines:
        if line[:2] in ("- ", "+ ") or line in "-+":
            hunks[script].append(line)
        elif line.startswith("@ "):
            hunks[script := line[2:]] = []
        else:
            why.append(line)
    return Difference(
        match[1],
        match[2],
        version(since) or (0,),
        version(before) or (99,),
        " ".join(filter(None, why)),
        {script: tuple(_hunks(lines)) for script, lines in hunks.items()},
    )


def _hunks(lines: list[str]) -> Iterator[Hunk]:
    text = "\n".join(lines) + "\n"
    for match in re.finditer(r"((?:^-.*\n)*)((?:^\+.*\n)*)", text, re.M):
        if match[0]:
            peer, ours = (tuple(line[2:] for line in part.splitlines()) for part in match.groups())
            yield Hunk(peer, ours)


def applied(hunks: tuple[Hunk, ...], lines: list[str]) -> list[str]:
    """The peer's lines with pbt's in their place. Raises ValueError naming a hunk that is not there."""
    start = 0
    for peer, ours in hunks:
        size = len(peer)
        places = [i for i in range(start, len(lines) - size + 1) if tuple(lines[i : i + size]) == peer]
        if not places:
            raise ValueError("the peer does not print\n" + "\n".join(peer))
        place = places[0] if peer else len(lines)
        lines = [*lines[:place], *ours, *lines[place + size :]]
        start = place + len(ours)
    return lines

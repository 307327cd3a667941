"""`pbt tool`: what is listed, what is explained, which options are taken. Nothing runs."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from pbt.cli import tool, trace
from pbt.cli.options import parse
from pbt.source import UsageError

SCRIPT = """#!/usr/bin/env pbt
/*
 * thing: what it shows.
 *
 *   COLUMN  what stands there
 */
begin { if (getopt("pid", 0, "this alone") == 0 && getopt("pid", 0) && getopt("name", "", "so called")) { exit(); } }
end { if (getopt("failed", false, "failures, and no more") && getopt("call", -1, "a number")) { exit(); } }
"""


def test_options_are_those_that_the_script_reads() -> None:
    assert [(o.long, o.value, o.doc) for o in tool.options(SCRIPT)] == [
        ("pid", "N", "this alone"), ("name", "TEXT", "so called"),
        ("failed", "", "failures, and no more"), ("call", "N", "a number")]  # fmt: skip


def test_about() -> None:
    assert tool.about(SCRIPT) == "thing: what it shows.\n\n  COLUMN  what stands there\n"
    assert tool.about("BEGIN { }") == ""


@pytest.mark.parametrize("name", tool.names())
def test_every_tool_says_what_it_shows(name: str) -> None:
    script = tool.text(name)
    head = tool.about(script)
    assert script.startswith("#!/usr/bin/env pbt\n/*\n") and head.startswith(f"{name}: ")
    assert head.partition("\n")[0].endswith(".") and max(map(len, script.splitlines())) <= 120
    assert all(option.doc for option in tool.options(script)) and "duration" in script
    assert Path(tool.path(name)).stat().st_mode & 0o111


_EXAMPLE = re.compile(r"^Example: pbt tool (.+)\n((?:  .+\n)+)\Z", re.M)
_BANNER = re.compile(r'^begin \{(?:(?!^\}).)*?printf\((".*?\\n")(.*?)\);', re.M | re.S)


def banner(script: str) -> str:
    """What a tool prints when it begins: the names of its columns, or a sentence; "" for none."""
    found = _BANNER.search(script)
    if not found:
        return ""
    words = ast.literal_eval(f"({found[2].strip().lstrip(',')},)") if found[2].strip() else ()
    return (ast.literal_eval(found[1]) % words).rstrip("\n")


def test_the_banner_is_found() -> None:
    assert banner(SCRIPT) == "" and banner(tool.text("loads")) == ""
    assert banner(tool.text("syscount")) == "Counting system calls, Ctrl-C shows them."
    assert banner(tool.text("opensnoop")).split() == ["TIME", "PID", "COMM", "FD", "ERR", "PATH"]


@pytest.mark.parametrize("name", tool.names())
def test_every_tool_has_an_example(name: str) -> None:
    """The last paragraph of its head: a command that it takes, and lines that it printed, its first one among them."""
    script = tool.text(name)
    found = _EXAMPLE.search(tool.about(script))
    assert found, "no example"
    first, *words = shlex.split(found[1])
    assert first == name and not parse(words, tool.options(script)).rest
    lines = [line[2:] for line in found[2].splitlines()]
    start = banner(script)
    assert lines[0] == (start or lines[0])
    assert 2 <= len(lines) <= 9 and set(lines) - {start, "..."}


def test_the_readme_has_every_tool() -> None:
    table = (Path(tool.path("opensnoop")).parent / "README.md").read_text()
    assert re.findall(r"^\| \[(\w+)\]", table, re.M) == tool.names()


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == tool.names()
    assert "opensnoop        which files are opened, by whom, and with what result." in rows


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["opensnoop", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("opensnoop: which files") and "--comm TEXT" in text and "--duration N" in text
    assert tool.main(["--help"]) == 0
    assert "pbt tool NAME --help" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["opensnop"], "no tool opensnop", "did you mean opensnoop?"),
        (["zzz"], "no tool zzz", "pbt tool lists"),
        (["opensnoop", "--faild"], "unknown option --faild", "did you mean --failed?"),
        (["opensnoop", "--pid"], "option --pid needs a value: N", ""),
        (["--zzz"], "unknown option --zzz", ""),
    ],
)
def test_what_is_wrong(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        tool.main(words)
    assert message in caught.value.message and hint in caught.value.hint


@pytest.mark.parametrize(
    ("words", "rest"),
    [
        ([], []),
        (["--pid=3", "--failed"], ["--pid=3", "--failed"]),
        (["--pid", "3", "--comm", "a b", "word"], ["--pid=3", "--comm=a b", "word"]),
        (["--comm", ""], ["--comm="]),
    ],
)
def test_what_the_script_is_given(words: list[str], rest: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(trace, "trace", lambda args: seen.append(args) or 7)
    assert tool.main(["-q", "opensnoop", *words]) == 7
    assert seen[0].rest == [tool.path("opensnoop"), *rest] and seen[0].has("quiet")

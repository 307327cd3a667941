from __future__ import annotations

from importlib import import_module

import pytest

from pbt import __version__
from pbt.cli.main import main
from pbt.cli.options import Option, parse
from pbt.source import UsageError

OPTIONS = (
    Option("l", "list", "", ""), Option("v", "verbose", "", "", many=True), Option("e", "", "PROG", ""),
    Option("p", "pid", "PID", ""), Option("", "dry-run", "", ""),
)  # fmt: skip


def test_groups() -> None:
    args = parse(["-lvv", "-epROG", "x", "-l"], OPTIONS)
    assert (
        args.has("list")
        and args.count("verbose") == 2
        and args.get("e") == "pROG"
        and args.rest == ["x", "-l"]
    )


@pytest.mark.parametrize(
    ("words", "rest", "given"),
    [
        ("x -l 1", ["x", "1"], {"list"}),
        ("x -p 5 --dry-run", ["x"], {"pid", "dry-run"}),
        ("x -4 -lx --name=1", ["x", "-4", "-lx", "--name=1"], set()),
        ("x - -v", ["x", "-"], {"verbose"}),
        ("x -- -v", ["x", "-v"], set()),
        ("-e P 1 -v", ["1"], {"e", "verbose"}),
    ],
)
def test_options_between_other_words(words: str, rest: list[str], given: set[str]) -> None:
    args = parse(words.split(), OPTIONS, permute=True)
    assert args.rest == rest and set(args.given) == given


@pytest.mark.parametrize("words", ["-z", "--lst", "-p", "--list=3", "-e a -e b", "-lz"])
def test_mistakes(words: str) -> None:
    with pytest.raises(UsageError):
        parse(words.split(), OPTIONS, permute=True)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-V"]) == main(["--version"]) == 0
    assert capsys.readouterr().out == 2 * f"pbt v{__version__}\n"


@pytest.mark.parametrize("verb", ["asm", "build", "disasm", "explain", "run", "target", "trace", "verify"])
def test_no_option_stands_twice(verb: str) -> None:
    options = import_module(f"pbt.cli.{verb}").OPTIONS
    names = [name for option in options for name in (option.short, option.long) if name]
    assert names and len(names) == len(set(names))

"""Scripts with mistakes in them, of all kinds: they compile, or are refused in words, whatever they say.

Seeds are the scripts of the golden tests and the rows of the language; each is changed by a few edits of its
words or bytes. PBT_FUZZ sets how many are tried (CI: a few hundred), PBT_FUZZ_SEED where to begin.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from pbt.host.target import Target
from pbt.pipeline import Options, run
from pbt.source import PbtError, Source
from tests.live.test_language import ROWS, TOP

TRIES = int(os.environ.get("PBT_FUZZ", "400"))
SEED = int(os.environ.get("PBT_FUZZ_SEED", "1"))
HERE = Path(__file__).resolve().parent
_WORD = re.compile(r'"(?:[^"\\\n]|\\.)*"|[@$]?\w+|\s+|[-+*/%&|^<>=!]=|&&|\|\||<<|>>|\+\+|--|->|\.\.|.', re.S)
_EXTRA = (
    "{", "}", "(", ")", "[", "]", ";", ",", ":", "?", "=", "*", "&", "-", "!", ".", "..", "->", "++", "/",
    "==", "<<", "0", "1", "-1", "18446744073709551615", '"text"', '""', "$x", "@x", "@", "@x[1]", "$1",
    "$#", "pid", "args", "retval", "count()", "hist(1)", "print", "printf", "if", "else", "while", "for",
    "unroll", "let", "return", "break", "fn", "macro", "struct", "enum", "sizeof", "typeof", "offsetof",
    "(uint8)", "(struct Pair *)", "(int32[2])", "(bool)", "()", "(1, 2)", "(a=1)", "true", "comptime",
    "curtask", "kstack", "ntop(1)", "str(0)", "buf(0, 4)", "BEGIN", "config", "import", "#define X", "/*",
    "//", "\\", "\x00", "é", "\ud800", "uint8", "string[8]", "1e6", "3s", "0x",
)  # fmt: skip


_VALUES = (
    "0", "1", "-1", "7", "18446744073709551615", '"text"', '""', "$x", "$a", "$p", "@x", "@y", "@", "@x[1]",
    '@x["k"]', "$1", "$#", "pid", "comm", "nsecs", "args", "retval", "func", "curtask", "probe", "kstack",
    "ustack", "ntop(1)", "str(0)", "buf(0, 4)", "ksym(0)", "(1, 2)", '(1, "a")', "(a=1)",
    "(a=1, b=(c=2, d=3))", "true", "a", "(int8)1", "(uint8[8])5", "()", "(struct Pair *)0",
    "*(struct Pair *)0", "&$x", "&@x", "(enum Colour)1", "{ 1 }", 'strftime("%H", 0)', "macaddr(0)",
    "count()", "sum(1)", "hist(1)", "stats(1)", "lhist(1, 0, 10, 1)", "username", "cgroup", "kptr(0)",
    "-$a", "!@x", "$t.1", "has_key(@x, 1)", "len(@x)", "1 ? 2 : 3", "(bool)1", "sizeof(5)", "typeof(5)",
    "triple(2)", "named(1)", "(1,)", "$kv.0",
)  # fmt: skip
_VALUE = re.compile(r'"|[$@]|\d|true|pid|comm|nsecs|curtask')


def _seeds() -> list[str]:
    golden = [path.read_text() for path in sorted((HERE.parent / "golden" / "text").glob("*.bt"))]
    return [*golden, *(_defined(row.body) + "BEGIN { " + row.body + " }" for row in ROWS)]


def _defined(body: str) -> str:
    """The definitions that a row uses."""
    used = set(re.findall(r"[A-Za-z_]\w+", body)) - {"struct", "enum", "int", "char", "int64", "return", "if"}
    return "".join(line + "\n" for line in TOP.splitlines() if used & set(re.findall(r"[A-Za-z_]\w+", line)))


def _mutant(seeds: Sequence[str], choose: random.Random) -> str:
    words = _WORD.findall(choose.choice(seeds))
    for _ in range(choose.choice((1, 1, 2, 3, 6))):
        at = choose.randrange(len(words) + 1)
        edit = choose.randrange(7) if choose.randrange(4) == 0 else 7
        if edit == 0:
            del words[at : at + choose.choice((1, 1, 2, 5))]
        elif edit == 1:
            words.insert(at, choose.choice(_EXTRA))
        elif edit == 2 and words:
            words[at % len(words)] = choose.choice(_EXTRA)
        elif edit == 3 and words:
            words.insert(at, words[choose.randrange(len(words))])
        elif edit == 4 and words:
            other = choose.randrange(len(words))
            words[at % len(words)], words[other] = words[other], words[at % len(words)]
        elif edit == 7:
            places = [i for i, word in enumerate(words) if _VALUE.match(word)]
            if places:
                words[choose.choice(places)] = choose.choice(_VALUES)
        elif edit == 5:
            words[at:at] = _WORD.findall(choose.choice(seeds))[:12]
        else:
            text = "".join(words)
            place = choose.randrange(len(text) + 1)
            words = _WORD.findall(
                text[:place] + chr(choose.choice((*range(32, 127), 10, 0, 0xE9))) + text[place + 1 :]
            )
    return "".join(words)


@pytest.fixture(scope="module")
def target() -> Target:
    return Target.load(str(HERE.parent / "fixtures" / "target"))


def test_nothing_but_words_comes_out(target: Target) -> None:
    seeds = _seeds()
    for number in range(SEED, SEED + TRIES):
        text = _mutant(seeds, random.Random(number))
        try:
            run(Source("script", text), target, Options(environment={}))
        except PbtError as error:
            assert str(error)
        except Exception as error:
            pytest.fail(f"PBT_FUZZ_SEED={number}: {type(error).__name__}: {error}\n{text}")

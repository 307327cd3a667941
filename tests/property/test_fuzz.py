"""Scripts with mistakes in them, of all kinds: they compile, or are refused in words, whatever they say.

Seeds are probes of the repository's scripts and the rows of the language; each is changed by a few edits of
its bytes, words, values or statements. Number n is always the same script: PBT_FUZZ_SEED=n PBT_FUZZ=1 tries it
alone, PBT_FUZZ=200000 tries many, PBT_FUZZ_TARGET=live with the types of this machine's kernel.
"""

from __future__ import annotations

import os
import random
import re
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from pbt.host.target import Target
from pbt.lang.parse import parse
from pbt.pipeline import STAGES, Options, Work
from pbt.source import PbtError, ScriptError, ScriptErrors, Source
from tests.seeds import documents, rows

TRIES = int(os.environ.get("PBT_FUZZ", "20000"))
SEED = int(os.environ.get("PBT_FUZZ_SEED", "1"))
SECONDS = 20  # of processor time, for one script: names may be looked for in all of a library's DWARF
MEMORY = 1 << 30  # bytes, for all
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


# --- mutants ----------------------------------------------------------------------------------


def _seeds() -> list[str]:
    """Short scripts: rows, and the probes of longer ones with the definitions before the first."""
    found = rows()
    for path in documents():
        text = path.read_text()
        probes = parse(Source(path.name, text), whole=False).script.probes
        head = text[: probes[0].span.start] if probes else text
        found += [head + probe.span.text for probe in probes]
    return sorted({text for text in found if len(text) < 1200})


def _of_bytes(text: str, seeds: Sequence[str], choose: random.Random) -> str:
    at, size = choose.randrange(len(text) + 1), choose.choice((0, 0, 1, 1, 2, 9))
    put = "".join(
        chr(choose.choice((*range(32, 127), 10, 0, 0xE9))) for _ in range(choose.choice((0, 1, 1, 2)))
    )
    return text[:at] + put + text[at + size :]


def _of_words(text: str, seeds: Sequence[str], choose: random.Random) -> str:
    words = _WORD.findall(text) or [""]
    at, other = choose.randrange(len(words)), choose.randrange(len(words))
    edit = choose.randrange(6)
    if edit == 0:
        del words[at : at + choose.choice((1, 1, 2, 5))]
    elif edit == 1:
        words.insert(at, choose.choice(_EXTRA))
    elif edit == 2:
        words[at] = choose.choice(_EXTRA)
    elif edit == 3:
        words.insert(at, words[other])
    elif edit == 4:
        words[at], words[other] = words[other], words[at]
    else:
        words[at:at] = _WORD.findall(choose.choice(seeds))[:12]
    return "".join(words)


def _of_values(text: str, seeds: Sequence[str], choose: random.Random) -> str:
    words = _WORD.findall(text)
    places = [i for i, word in enumerate(words) if _VALUE.match(word)]
    if places:
        words[choose.choice(places)] = choose.choice(_VALUES)
    return "".join(words)


def _of_statements(text: str, seeds: Sequence[str], choose: random.Random) -> str:
    """Statements of another script go in after one of this."""
    donor = choose.choice(seeds)
    inner = donor[donor.find("{") + 1 : donor.rfind("}")]
    ends = [m.end() for m in re.finditer(r";|\{", text)] or [0]
    at = choose.choice(ends)
    return text[:at] + " " + inner + "; " + text[at:]


_EDITS: tuple[Callable[[str, Sequence[str], random.Random], str], ...] = (
    _of_bytes, _of_bytes, _of_words, _of_words, _of_words, _of_values, _of_values, _of_statements,
)  # fmt: skip


def mutant(seeds: Sequence[str], number: int) -> str:
    choose = random.Random(number)
    text = choose.choice(seeds)
    for _ in range(choose.choice((1, 1, 2, 3))):
        text = choose.choice(_EDITS)(text, seeds, choose)
    return text


# --- the law ----------------------------------------------------------------------------------


class TooSlow(BaseException):
    """Not to be caught by what handles exceptions on the way."""


@contextmanager
def limited() -> Iterator[None]:
    """Processor time is limited for each script (`start_clock`), memory for all."""

    def late(*_: object) -> None:
        raise TooSlow

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    held = int(re.findall(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[0]) << 10
    old = signal.signal(signal.SIGVTALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, hard))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, old)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def start_clock(seconds: float = SECONDS) -> None:
    """From now on: `limited` ends what runs after so many seconds of processor time."""
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)


@pytest.fixture(scope="module")
def target() -> Target:
    if os.environ.get("PBT_FUZZ_TARGET") == "live":
        return Target.live()
    return Target.load(str(HERE.parent / "fixtures" / "target"))


def test_nothing_but_words_comes_out(target: Target) -> None:
    seeds, stages = _seeds(), Counter[str]()
    with limited():
        for number in range(SEED, SEED + TRIES):
            stages[_stage_reached(mutant(seeds, number), target, number)] += 1
    assert TRIES < 1000 or stages["check"] > TRIES // 10 < 10 * stages["link"], stages


def test_garbage(target: Target) -> None:
    """Texts that never were scripts: bytes at random, or runs of one word."""
    with limited():
        for number in range(500):
            choose = random.Random(number)
            if number % 2:
                text = choose.randbytes(choose.randrange(400)).decode("latin-1")
            else:
                text = "".join(choose.choice(_EXTRA) for _ in range(3)) * choose.randrange(200)
            _stage_reached(text, target, number)


def _in_place(error: PbtError, text: str) -> bool:
    """Whether each place of an error lies in the script, with a caret under its line where there is one."""
    for each in error.errors if isinstance(error, ScriptErrors) else [error]:
        if isinstance(each, ScriptError) and each.span.source.text == text:
            column, shown = each.span.locate()[1:]
            rows = str(each).splitlines()
            if not 0 <= each.span.start <= each.span.end <= len(text) or column > len(shown) + 1:
                return False
            if shown.strip() and shown.isprintable() and rows[2].strip("~") != " " * rows[2].find("^") + "^":
                return False
    return True


def _stage_reached(text: str, target: Target, number: int) -> str:
    work = Work(Source("script", text), target, Options(environment={}))
    name = ""
    start_clock()
    try:
        for name, stage in STAGES:  # noqa: B007
            stage(work)
    except PbtError as error:
        assert str(error)
        assert _in_place(error, text), f"PBT_FUZZ_SEED={number}: {error}\n{text}"
    except (Exception, TooSlow) as error:
        pytest.fail(f"PBT_FUZZ_SEED={number}: stage {name}: {type(error).__name__}: {error}\n{text}")
    return name

"""Command-line options as a table: parsing, help and errors read the same rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pbt.data import NamedTuple
from pbt.source import UsageError, nearest


class Option(NamedTuple):
    """`short` and `long` without dashes, "" if there is none; `value`: what its argument is called, "" if none,
    in brackets if it may be left out (then it follows "=", or is a next word that `takes` recognises);
    `many`: may stand several times."""

    short: str
    long: str
    value: str
    doc: str
    many: bool = False
    takes: Callable[[str], bool] = lambda word: False


class Arguments:
    """Options given, by long name (or short, without a long one); and what follows them."""

    def __init__(self) -> None:
        self.given: dict[str, list[str]] = {}
        self.rest: list[str] = []

    def has(self, name: str) -> bool:
        return name in self.given

    def count(self, name: str) -> int:
        return len(self.given.get(name, ()))

    def get(self, name: str, default: str = "") -> str:
        return self.given[name][-1] if name in self.given else default

    def all(self, name: str) -> Sequence[str]:
        return self.given.get(name, ())


def parse(argv: Sequence[str], options: Sequence[Option], permute: bool = False) -> Arguments:
    """Options up to the first other word or `--`; short ones may be grouped, as in -lv.

    `permute`: options may follow other words, too; there, what is no option of the table is such a word.
    UsageError for unknown options and missing values.
    """
    made, words = Arguments(), list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            made.rest += words
            break
        if not word.startswith("-") or word == "-" or (made.rest and not _known(word, options)):
            made.rest.append(word)
            if not permute:
                made.rest += words
                break
        elif word.startswith("--"):
            _long(word, words, options, made)
        else:
            _short(word, words, options, made)
    return made


def _known(word: str, options: Sequence[Option]) -> bool:
    """Whether a word is an option, or several short ones."""
    if word.startswith("--"):
        return any(option.long == word[2:].partition("=")[0] for option in options)
    for letter in word[1:]:
        option = next((o for o in options if o.short == letter), None)
        if option is None or option.value:
            return option is not None
    return True


def _name(option: Option) -> str:
    return option.long or option.short


def _add(option: Option, value: str, made: Arguments) -> None:
    values = made.given.setdefault(_name(option), [])
    if values and option.value and not option.many:
        shown = f"--{option.long}" if option.long else f"-{option.short}"
        raise UsageError(f"option {shown} is given twice")
    values.append(value)


def _long(word: str, words: list[str], options: Sequence[Option], made: Arguments) -> None:
    name, equals, value = word[2:].partition("=")
    option = next((o for o in options if o.long == name), None)
    if option is None:
        close = nearest(name, [o.long for o in options if o.long], 1)
        raise UsageError(
            f"unknown option --{name}", f"did you mean --{close[0]}?" if close else "pbt --help lists them"
        )
    if equals and not option.value:
        raise UsageError(f"option --{name} takes no value")
    if option.value and not equals:
        value = _next(f"--{name}", option, words)
    _add(option, value, made)


def _short(word: str, words: list[str], options: Sequence[Option], made: Arguments) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        option = next((o for o in options if o.short == letter), None)
        if option is None:
            raise UsageError(f"unknown option -{letter}", "pbt --help lists them")
        if option.value and not option.value.startswith("["):
            _add(option, letters or _next(f"-{letter}", option, words), made)
            return
        _add(option, "" if letters or not option.value else _next(f"-{letter}", option, words), made)


def _next(shown: str, option: Option, words: list[str]) -> str:
    """The next word as the option's value; "" for an option that does without."""
    if option.value.startswith("[") and not (words and option.takes(words[0])):
        return ""
    if not words:
        raise UsageError(f"option {shown} needs a value: {option.value}")
    return words.pop(0)


def usage(options: Sequence[Option]) -> str:
    """The list of options for --help."""
    rows = []
    for option in options:
        if not option.doc:
            continue
        names = ", ".join(
            n for n in (f"-{option.short}" * bool(option.short), f"--{option.long}" * bool(option.long)) if n
        )
        rows.append((f"{names} {option.value}".rstrip(), option.doc))
    return "\n".join(f"    {left:26} {doc}" for left, doc in rows)

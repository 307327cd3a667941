"""`pbt -l`: probes that match patterns, probes of a script, types; with -v also what they are made of."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice

from pbt.cli.options import Arguments
from pbt.cli.say import say
from pbt.feature import find_provider
from pbt.source import PbtError, Source, Span, UsageError
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.feature import Place, Provider
    from pbt.host.btf import Btf
    from pbt.host.target import Target

IN_FILES = ("uprobe", "usdt")  # listed where a file is named; their twins for returns only by their own name
KINDS = ("struct", "union", "enum")
_INDENT = "    "
_AT_ONCE = 1024  # lines written together at most


def main(args: Arguments) -> int:
    from pbt.cli.trace import target_of

    gc.disable()  # long lists of names, nothing cyclic
    target, verbose = target_of(args), args.has("verbose")
    if args.has("e") or (args.rest and os.path.isfile(args.rest[0])):
        lines = _of_program(args, target, verbose)
    else:
        if len(args.rest) > 1:
            raise UsageError(
                f"-l takes one pattern, not also {args.rest[1]}", "put quotes around it: 'kprobe:vfs_*'"
            )
        text = args.rest[0] if args.rest else ""
        if text.startswith(("/", "./", "../")) and ":" not in text:
            say(f"WARNING: {text} is not a file; it is taken for a pattern")
        lines = matching(text, target, verbose, _pid(args))
    if not _written(lines) and not args.has("quiet"):
        say("No probes or types match")
    return 0


def _written(lines: Iterator[str]) -> bool:
    """Write lines to standard output, some first, then more at once; whether there were any."""
    size = 1
    while piece := list(islice(lines, size)):
        sys.stdout.buffer.write("".join(f"{line}\n" for line in piece).encode(errors="surrogateescape"))
        sys.stdout.buffer.flush()
        size = min(2 * size, _AT_ONCE)
    return size > 1


def _pid(args: Arguments) -> int | None:
    from pbt.cli.trace import number

    return number(args, "pid")


# --- of a program -------------------------------------------------------------------------------


def _of_program(args: Arguments, target: Target, verbose: bool) -> Iterator[str]:
    """Each attach point of a script or of a built file once, in the order of the script."""
    from pbt.cli.verbs import read_bytes

    if not args.has("e"):
        from pbt.aot import is_tool, load

        data = read_bytes(args.rest[0])
        if is_tool(data):
            programs = load(data, args.rest[0]).programs
            return _shown([(p.name, p.provider, p.place) for p in programs], target, verbose)
    from pbt.cli.trace import source_of
    from pbt.pipeline import Options, run

    source, params = source_of(args)
    expanded = run(source, target, Options(params), until="expand").expanded
    found = [(a.context.label, a.provider.name, a.place) for each in expanded for a in each.places]
    return _shown(found, target, verbose)


def _shown(found: Iterable[tuple[str, str, Place]], target: Target, verbose: bool) -> Iterator[str]:
    seen = set()
    for label, provider, place in found:
        if label not in seen:
            seen.add(label)
            yield label
            if verbose:
                yield from _fields(_providers()[provider], place, target)


def _providers() -> Mapping[str, Provider]:
    from pbt.feature import Provider
    from pbt.registry import collect

    return collect("pbt.probes", Provider)


def _fields(provider: Provider, place: Place, target: Target) -> Iterator[str]:
    return (_INDENT + row for row in provider.fields(place, target))


# --- by patterns --------------------------------------------------------------------------------


def matching(text: str, target: Target, verbose: bool = False, pid: int | None = None) -> Iterator[str]:
    """What a pattern, or several with commas between them, means; "" means all probes of the kernel."""
    for pattern in re.findall(r'(?:[^,"]|"[^"]*")+', text) or [""]:
        kind, _, name = pattern.strip().partition(" ")
        if kind in KINDS:
            yield from types(kind, name.strip() or "*", target, verbose)
        else:
            yield from _probes(pattern.strip(), target, verbose, pid)


def _probes(pattern: str, target: Target, verbose: bool, pid: int | None) -> Iterator[str]:
    wanted, parts = _split(pattern)
    chosen = _chosen(wanted, parts, pid)
    for provider in chosen:
        try:
            found_in = _with_files(provider, parts, pid)
            lines = provider.list(found_in, target)
            if not lines and len(chosen) == 1:
                _explain(provider, found_in, target)
        except PbtError as error:
            if len(chosen) == 1:
                raise
            say(f"WARNING: no {provider.name} probes: {getattr(error, 'message', error)}")
            continue
        for line in lines:
            yield f"{provider.name}:{line}"
            if verbose:
                yield from _arguments(provider, line, target)


def _explain(provider: Provider, parts: Sequence[str], target: Target) -> None:
    """Say why a provider has nothing at all there, if it knows, or which place may have been meant."""
    from pbt.lang.expand import similar

    with suppress(PbtError):  # a pattern need not be a whole attach point
        reason = provider.absent(provider.parse(parts, Span(Source("pattern", ""), 0, 0)), target)
        if reason is not None:
            say(f"WARNING: {reason[0]}" + (f"\nHINT: {reason[1]}" if reason[1] else ""))
        elif hint := similar(provider, parts, target):
            say(f"WARNING: there is no {provider.name}:{':'.join(parts)}\nHINT: {hint}")


def _split(pattern: str) -> tuple[str, list[str]]:
    """(provider, parts): "*sleep*" means that name at any provider, "kprobe" all that it has."""
    words = _colons(pattern)
    if len(words) > 1:
        return words[0], words[1:]
    if not pattern or find_provider(pattern) is not None:
        return pattern or "*", ["*"]
    return "*", [pattern]


def _colons(pattern: str) -> list[str]:
    """The pattern split at colons outside quotes, quotes removed."""
    words, quoted = [""], False
    for letter in pattern:
        if letter == '"':
            quoted = not quoted
        elif letter == ":" and not quoted:
            words.append("")
        else:
            words[-1] += letter
    return words


def _chosen(wanted: str, parts: Sequence[str], pid: int | None) -> list[Provider]:
    """The providers that a name or pattern means, sorted; those of files only where there is a file."""
    from pbt.probes.common import is_pattern
    from pbt.probes.common import matching as named

    if not is_pattern(wanted):
        provider = find_provider(wanted)
        if provider is None:
            from pbt.source import nearest

            close = nearest(
                wanted.lower(), [n for p in _providers().values() for n in (p.name, *p.aliases)], 1
            )
            raise UsageError(f"unknown probe type {wanted}", f"did you mean {close[0]}?" if close else _see())
        return [provider]
    known = _providers()
    in_file = pid is not None or ("/" in parts[0] and len(parts) > 1)
    return [known[n] for n in named(wanted, known) if (n in IN_FILES if in_file else known[n].listed)]


def _see() -> str:
    return "the types are " + ", ".join(sorted(_providers()))


def _with_files(provider: Provider, parts: Sequence[str], pid: int | None) -> Sequence[str]:
    """With a process, and no file named: its program."""
    if provider.name not in IN_FILES or pid is None or "/" in parts[0]:
        return parts
    try:
        program = os.readlink(f"/proc/{pid}/exe")
    except OSError as error:
        raise UsageError(f"cannot look into process {pid}: {error.strerror}") from None
    return [program, *(p for p in parts[-1:] if p)]


def _arguments(provider: Provider, line: str, target: Target) -> Iterator[str]:
    span = Span(Source("pattern", line), 0, len(line))
    try:
        place = provider.parse(line.split(":"), span)
    except PbtError:  # the line is a form with something still to fill in, as in "interval:s:"
        return
    yield from _fields(provider, place, target)


# --- types --------------------------------------------------------------------------------------


def types(kind: str, pattern: str, target: Target, verbose: bool) -> Iterator[str]:
    """Structs, unions or enums of the kernel and its modules, sorted; `verbose`: as C text."""
    from pbt.probes.common import matching as named

    base = target.types
    if base is None:
        raise UsageError("this kernel has no type information", "name a file of BTF in BPFTRACE_BTF")
    sources = [("vmlinux", base)]
    sources += [(name, made) for name in target.modules() if (made := target.module_types(name))]
    found: dict[str, tuple[str, Btf]] = {}
    for module, source in sources:
        for name in named(pattern, source.names(kind)):
            found.setdefault(name, (module, source))
    for name in sorted(found):
        module, source = found[name]
        yield f"{module}: {definition(source, kind, name)}\n" if verbose else f"{kind} {name}"


def definition(types: Btf, kind: str, name: str) -> str:
    """A type as C would define it."""
    from pbt.types import Enum, Struct

    id = types.find(kind, name)
    made = types.type(id) if id is not None else None
    if isinstance(made, Enum):
        rows = [f"\t{name} = {value}," for name, value in made.values]
        return "\n".join([f"{kind} {name} {{", *rows, "};"])
    assert isinstance(made, Struct)
    return "\n".join([f"{made.name} {{", *_members(made, 1), "};"])


def _members(struct: object, depth: int) -> Iterator[str]:
    from pbt.types import Array, Struct

    assert isinstance(struct, Struct)
    indent = "\t" * depth
    for member in struct.members:
        inner, _, rest = member.ctype.partition("(anon)")
        nested: object = member.type
        while isinstance(nested, Array):
            nested = nested.element
        if isinstance(nested, Struct) and inner in ("struct ", "union ") and "*" not in rest:
            yield f"{indent}{inner}{{"
            yield from _members(nested, depth + 1)
            yield f"{indent}}}{' ' * bool(member.name)}{member.name}{rest.strip()};"
        else:
            yield f"{indent}{_declared(member.ctype, member.name)}{_bits(member.bit_size)};"


def _bits(size: int) -> str:
    return f": {size}" if size else ""


def _declared(ctype: str, name: str) -> str:
    """A declaration: the name stands inside pointers to functions and before brackets."""
    head, star, tail = ctype.partition("(*)")
    if star:
        return f"{head}(*{name}){tail}"
    base, bracket, dims = ctype.partition("[")
    return f"{base}{'' if base.endswith('*') else ' '}{name}{bracket}{dims}"

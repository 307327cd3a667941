"""uprobe and uretprobe: places in the code of programs and libraries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

from pbt.data import replace
from pbt.feature import Context, Joint, Place, Provider
from pbt.probes import srcline
from pbt.probes.common import (
    IS_RETURN,
    count_parts,
    instruction_pointer,
    is_pattern,
    matching,
    number,
    register_argument,
    register_result,
    start_of_function,
    tells_return,
)
from pbt.source import ScriptError, Span
from pbt.types import U64, Type
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.elf import Elf
    from pbt.host.target import Target
    from pbt.views import AttachHost, Closeable

MULTI, SESSION = "TRACE_UPROBE_MULTI", "TRACE_UPROBE_SESSION"
PMU = "uprobe"
MERGED = (
    "libanl",
    "libdl",
    "libpthread",
    "librt",
    "libutil",
)  # into libc, with glibc 2.34: empty shells since


def _parse(provider: str, parts: Sequence[str], span: Span) -> Place:
    """`path:function`, `path:function+offset`, `path:0xADDRESS`: a place with `path`, `symbol`, `offset`;
    without a path (""), that of the program of `-p`;
    `path:cpp:"name(types)"`: one with `cpp`, the name as C++ writes it, until it is looked up;
    `path@file:line[:column]`: one with a source line (see `srcline`).

    The symbol is "" where the offset is the virtual address itself.
    """
    if srcline.is_line(parts):
        if provider == "uretprobe":
            raise ScriptError("uretprobe takes no source line: it runs where the function returns", span)
        return srcline.parse(parts, span)
    if len(parts) == 3 and parts[1] == "cpp":
        count_parts(provider, parts, span, 3)
        return {"path": parts[0], "symbol": "", "offset": 0, "cpp": parts[2]}
    if len(parts) == 2 and not parts[0]:
        parts = parts[1:]
    if len(parts) == 1 and parts[0] and "/" not in parts[0]:
        parts = ("", *parts)
    else:
        count_parts(provider, parts, span, 2, 3)
    if len(parts) == 3:
        raise ScriptError(f"Invalid language of names: '{parts[1]}'", span, "cpp is the only one")
    path, target = parts
    symbol, plus, offset = target.partition("+")
    if symbol[:1].isdigit():
        return {"path": path, "symbol": "", "offset": number(target, span, "address")}
    if plus and provider == "uretprobe":
        raise ScriptError("uretprobe takes no offset: it runs where the function returns", span)
    at = number(offset, span, "offset") if plus and offset not in ("0", "0x0") else 0
    return {"path": path, "symbol": symbol, "offset": at}


# --- what is there ----------------------------------------------------------------------------


def files(path: str) -> list[str]:
    """The files that a path means: itself, a glob, a name from $PATH, a library's name, or one in an archive.

    `*` means what runs now: every program and library that a process has mapped.
    """
    from pbt.host.elf import find_library, find_program

    if path == "*":
        return _running()
    if is_pattern(path):
        from glob import glob

        return sorted(glob(path)) if "/" in path else []
    found = find_program(path)
    if found is None and "/" not in path and path.startswith("lib"):
        found = find_library(path)
    if found is None and "!/" in path:
        from pbt.host.archive import member

        found = path if member(path) else None
    return [found] if found else []


def _running() -> list[str]:
    from os import listdir

    return sorted({path for name in listdir("/proc") if name.isdigit() for path in mapped(int(name))})


def mapped(pid: int) -> list[str]:
    """Files whose code a process has mapped, as this process can open them; [] when it is gone."""
    from pbt.host.proc import maps

    root = _root(pid)
    found = {row.path for row in maps(pid) if "x" in row.perms and row.path.startswith("/")}
    return sorted(root + path for path in found)


def _root(pid: int) -> str:
    """What stands before a path that a process sees: nothing, unless it lives in a file system of its own."""
    import os

    try:
        theirs, ours = os.stat(f"/proc/{pid}/root/"), os.stat("/")
        spaces = os.readlink(f"/proc/{pid}/ns/mnt"), os.readlink("/proc/self/ns/mnt")
    except OSError:
        return ""
    same = (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino) and spaces[0] == spaces[1]
    return "" if same else f"/proc/{pid}/root"


def _program(pid: int, root: str) -> str:
    """The file that a process runs, as this process can open it; "" when it is gone."""
    import os

    try:
        return root + os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def of_process(place: Place, pid: int) -> Place:
    """The place with its file as the process sees it: `*` is all that it has mapped, a library's name one of
    those first."""
    from pbt.host.elf import find_library, find_program

    path, root = place["path"], _root(pid)
    if not path:
        return {**place, "path": _program(pid, root)}
    if path == "*":
        return {**place, "files": mapped(pid)}
    if not root or is_pattern(path):
        return place
    found = find_program(path, root)
    if found is None and "/" not in path and path.startswith("lib"):
        found = find_library(path, root)
    return {**place, "path": found} if found else place


def elf_of(path: str) -> Elf | None:
    from pbt.host.elf import Elf, ElfError

    try:
        if "!/" not in path:
            return Elf(path)
        from pbt.host.archive import open_elf

        return open_elf(path)
    except (OSError, ElfError):
        return None


def _expand(place: Place, target: Target) -> Sequence[Place]:
    found: list[Place] = []
    for path, elf in elves(place):
        if "line" in place:
            found += srcline.expand(place, path, elf)
            continue
        names = _symbols(elf, place)
        by = {"matched": True} if is_pattern(place["symbol"]) else {}
        found += [{"path": path, "symbol": name, "offset": place["offset"], **by} for name in names]
    if not found and place["path"].partition(".so")[0] in MERGED:
        return _expand({**place, "path": "libc"}, target)
    return found


def _absent(place: Place, target: Target) -> tuple[str, str] | None:
    if "line" in place:
        return srcline.absent(place, tuple(elves(place)))
    if not place["path"]:
        return (
            "a function without a file is one of the program of -p",
            f"write uprobe:FILE:{place['symbol']}, or -p PID",
        )
    if "@" in place["path"] and not files(place["path"]):
        return f"there is no program or library {place['path']}", srcline.FORM
    return unusable(place["path"]) or _no_code(place)


def unusable(path: str) -> tuple[str, str] | None:
    """Why there are no places in a file, and what to do; None for a pattern and for an ELF file."""
    if is_pattern(path):
        return None
    found = files(path)
    if not found and "/" not in path:
        if path.startswith("lib"):
            return f"there is no library {path}", "ldconfig -p lists those that are found by name"
        return f"there is no program {path} in $PATH", "write the file's whole path"
    if found and elf_of(found[0]) is None:
        return f"{found[0]} is not an ELF file", "probes are in programs and libraries, not in scripts"
    return None


def _no_code(place: Place) -> tuple[str, str] | None:
    """Of an ELF file: that an address in it is not one of code, or that it has no names of functions."""
    for path, elf in elves(place):
        found = elf.symbol(place["symbol"]) if place["offset"] else None
        if found is not None:
            text = f"Offset outside the function bounds ('{place['symbol']}' size is {found[1]})"
            return text, f"what follows it has an address: uprobe:{path}:{found[0] + place['offset']:#x}"
        if "cpp" not in place and not place["symbol"]:
            return f"{place['offset']:#x} is no address of code in {path}", "nm and objdump -d show addresses"
        if not elf.functions():
            return (
                f"{path} has no symbols: it was stripped",
                f"an address needs none: uprobe:{path}:0xADDRESS",
            )
    return None


def elves(place: Place) -> Iterator[tuple[str, Elf]]:
    """The files of a place that are ELF, each with its path."""
    for path in place.get("files") or files(place["path"]):
        elf = elf_of(path)
        if elf is not None:
            yield path, elf


def _symbols(elf: Elf, place: Place) -> Sequence[str]:
    symbol = place["symbol"]
    if "cpp" in place:
        return _cpp(elf, place["cpp"])
    if is_pattern(symbol):
        return matching(symbol, (f.name for f in elf.functions()))
    if not symbol:
        return ("",) if elf.is_code(place["offset"]) else ()
    found = elf.symbol(symbol)
    return (symbol,) if found and _within(place["offset"], found[1]) else ()


def _within(offset: int, size: int) -> bool:
    """Whether an offset is one into a function of so many bytes; 0 where that is not known."""
    return offset < size or not size


def _cpp(elf: Elf, wanted: str) -> Sequence[str]:
    """Functions whose C++ names are the wanted one or match it; one without parameters means all of them.

    Functions of C have the same name there.
    """
    from pbt.host.demangle import demangle

    full = wanted if "(" in wanted else ""
    names = {f.name: demangle(f.name) if f.name.startswith("_Z") else f.name for f in elf.functions()}
    shown = {name: text if full else text.partition("(")[0] for name, text in names.items()}
    chosen = set(matching(wanted, shown.values()))
    return sorted(name for name, text in shown.items() if text in chosen)


def _where(place: Place) -> str:
    if "line" in place:
        return srcline.where(place)
    if "cpp" in place:
        return f"{place['path']}:cpp:{place['cpp']}"
    if not place["symbol"]:
        return f"{place['path']}:{place['offset']:#x}"
    return f"{place['path']}:{place['symbol']}" + (f"+{place['offset']}" if place["offset"] else "")


def _label(provider: str, place: Place) -> str:
    return f"{provider}:{_where(place)}" if place["path"] else f"{provider}:{place['symbol']}"


def _describe(returns: bool, place: Place, target: Target) -> Context:
    """uprobe_multi links are made by processes without CAP_SYS_ADMIN too; they need their own attach type.

    Both came with 6.6: those links, and the start of a returning function (a3c485a5d8d4).
    """
    multi = target.has("uprobe_multi")
    common = Context(
        "uretprobe" if returns else "uprobe",
        _label("uretprobe" if returns else "uprobe", place),
        "KPROBE",
        expected_attach_type=MULTI if multi else "",
        user=True,
        regs=True,
    )
    if returns:
        start = start_of_function(multi, "6.6")
        return replace(common, retval=U64, read_retval=register_result, **start)
    return replace(common, arg=register_argument, func=instruction_pointer)


def _in_session(
    places: Sequence[Place], context: Context, used: frozenset[str], target: Target
) -> Context | None:
    """Where one program, attached by one link, runs at the entry and at the return of functions (6.13)."""
    if context.expected_attach_type != MULTI or not target.has("uprobe_session") or not tells_return(target):
        return None
    if any("line" in place or not place["symbol"] or place["offset"] for place in places):
        return None
    return replace(context, expected_attach_type=SESSION)


def _typed(place: Place, context: Context, target: Target) -> Context:
    from pbt.probes import userargs

    elf = elf_of(place["path"])
    return userargs.typed(context, place, elf, target.arch) if elf is not None else context


def _find_type(places: Sequence[Place], name: str) -> Type | None:
    from pbt.probes import userargs

    elfs = filter(None, (elf_of(path) for path in dict.fromkeys(place["path"] for place in places)))
    return next(filter(None, (userargs.find_type(elf, name) for elf in elfs)), None)


def _fields(place: Place, target: Target) -> Sequence[str]:
    from pbt.probes import userargs

    named = "line" in place or "cpp" in place
    found = next(iter(_expand(place, target)), None) if named else place
    elf = _last(found["path"]) if found else None
    return userargs.fields(found, elf) if found and elf is not None else ()


@lru_cache(maxsize=1)
def _last(path: str) -> Elf | None:
    """The file that a listing is at: asked for once for each of its functions."""
    return elf_of(path)


# --- attaching --------------------------------------------------------------------------------


def _attach(returns: bool, host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    from pbt.probes.uattach import attach, spot

    return attach(spot, returns, host, fd, program)


def _attach_many(
    returns: bool, host: AttachHost, fd: int, programs: Sequence[Program]
) -> tuple[Sequence[Closeable], int]:
    from pbt.probes.uattach import attach_many, spot

    return attach_many(spot, returns, host, fd, programs)


# --- listing ----------------------------------------------------------------------------------


def _list(parts: Sequence[str], target: Target) -> Sequence[str]:
    if not parts or not parts[0]:
        return ()
    path, at, source = parts[0].rpartition("@")
    if at and not files(parts[0]) and len(parts) in (2, 3):
        where = (*parts[1:], "")[:2]
        return sorted(
            line for f, elf in elves({"path": path}) for line in srcline.listed(f, elf, source, *where)
        )
    pattern = parts[1] if len(parts) > 1 and parts[1] else "*"
    place = {"path": parts[0]}
    return sorted(
        f"{path}:{name}"
        for path, elf in elves(place)
        for name in matching(pattern, [f.name for f in elf.functions()])
    )


def _provider(name: str, alias: str, doc: str) -> Provider:
    return Provider(
        name,
        doc,
        parse=partial(_parse, name),
        expand=_expand,
        label=partial(_label, name),
        describe=partial(_describe, name == "uretprobe"),
        attach=partial(_attach, name == "uretprobe"),
        attach_many=partial(_attach_many, name == "uretprobe"),
        of_process=of_process,
        absent=_absent,
        find_type=_find_type,
        typed=None if name == "uretprobe" else _typed,
        fields=(lambda place, target: ()) if name == "uretprobe" else _fields,
        list=_list,
        aliases=(alias,),
        files=True,
        reverse=True,
        listed=False,
        cookies="get_attach_cookie",
        joint=None if name == "uretprobe" else Joint("uretprobe", IS_RETURN, _in_session),
    )


UPROBES = (
    _provider(
        "uprobe",
        "u",
        "A function of a program or library: `uprobe:/bin/bash:readline`, `uprobe:libc:malloc`.",
    ),
    _provider(
        "uretprobe",
        "ur",
        "Return of a function of a program or library: `uretprobe:/bin/bash:readline`; `retval` is what it returns.",
    ),
)

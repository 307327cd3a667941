"""`pbt verify FILE...`: would the kernel's verifier accept these programs?"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence

from pbt.cli.kernel import judging, kernel_types
from pbt.cli.options import Arguments, Option
from pbt.cli.verbs import HEADERS, HELP, PROGRAM, explained, headers_of, mixed, read_bytes, text_of
from pbt.data import NamedTuple
from pbt.source import ScriptError, Source, Span, UsageError, did_you_mean
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import Bundle, Code
    from pbt.host.target import Target
    from pbt.verifier_sim import Verdict
    from pbt.verifier_sim.kernellog import Line

OPTIONS = (
    Option(
        "",
        "kernel",
        "RELEASE",
        "compile scripts for this release, and judge as it does; default: the program's own, or 6.18",
    ),
    Option(
        "",
        "type",
        "TYPE",
        "the program type where nothing else tells; of text and bytes: SOCKET_FILTER",
    ),
    Option("", "attach", "TYPE", "their expected attach type"),
    Option("", "log", "LEVEL", "the walk as the kernel's log has it: 1 for the refused path, 2 for all"),
    Option("", "kernel-log", "FILE", "show a log of the kernel beside the lines of the script"),
    Option("", "calibrate", "", "ask the running kernel's verifier what it can do, and remember that"),
    Option("", "states", "", "show what is known before each instruction"),
    Option("", "jsonl", "", "a JSON object with a program a line on standard input, a verdict a line out"),
    PROGRAM,
    Option("", "target", "DIR|RELEASE", "for the machine saved in DIR (see pbt target), or a release"),
    *HEADERS,
    Option("", "unsafe", "", "allow system(), signal() and other functions that change things"),
    HELP,
)
USAGE = """    pbt verify [options] FILE...
    pbt verify [options] -e 'PROGRAM'
    pbt verify --jsonl < PROGRAMS
        judge scripts (*.bt), files made by pbt build, BPF objects, text or bytes; nothing is loaded.
        The exit status is 1 if a program is refused."""


class Judged(NamedTuple):
    """One program, its verdict, its instructions, and where each comes from, if it has a text."""

    name: str
    verdict: Verdict
    code: Code
    place: Callable[[int], Span | None]


def main(argv: Sequence[str]) -> int:
    args = mixed(argv, OPTIONS, len(argv))
    if explained(args, USAGE, OPTIONS):
        return 0
    if (
        args.has("target")
        and re.match(r"\d+\.\d+", args.get("target"))
        and not os.path.isdir(args.get("target"))
    ):
        args.given["kernel"] = args.given.pop("target")
    if args.has("jsonl"):
        return _batch()
    if args.has("calibrate"):
        return _calibrate()
    if args.has("kernel-log"):
        return _beside(args)
    if not args.rest and not args.has("e"):
        raise UsageError("no file given", "pbt verify FILE..., pbt verify -e 'PROGRAM', or pbt verify --help")
    bad = False
    for name in ["stdin"] if args.has("e") else args.rest:
        for judged in _judged(name, args):
            bad |= judged.verdict.kind == "reject"
            if judged.verdict.log:
                print(judged.verdict.log)
            print("\n".join(_shown(judged, args.has("states"))))
    return int(bad)


def _level(args: Arguments) -> int:
    level = args.get("log", "0")
    if level not in ("0", "1", "2"):
        raise UsageError(f"unknown level of the log: {level}", "1 or 2")
    return int(level)


def _calibrate() -> int:
    """Ask the running kernel, and show what differs from its release."""
    release = os.uname().release
    known = judging(release, ask=True).get("features")
    if not isinstance(known, frozenset):
        raise UsageError("the kernel lets this user load no programs", "try as root")
    from pbt.verifier_sim.kernels import features

    guess = features(release)
    print(f"{release}: {len(known)} rules")
    for name in sorted(known ^ guess):
        print(f"  {name}: {'has it' if name in known else 'has it not'}, unlike its release")
    return 0


def _beside(args: Arguments) -> int:
    """A log of the kernel with the line of the script before what was made of it; why, in words."""
    from pbt.verifier_sim.kernellog import read, verdict_of
    from pbt.verifier_sim.reasons import find, plain

    lines = list(read(text_of(read_bytes(args.get("kernel-log")), args.get("kernel-log"))))
    name = args.rest[0] if args.rest else "stdin"
    found = list(_judged(name, args)) if args.rest or args.has("e") else []
    judged = max(found, key=lambda judged: _likeness(judged, lines), default=None)
    last = None
    for line in lines:
        place = _place(judged, line.pc)
        if place is not None and place[:2] != last:
            last = place[:2]
            print(f"{place[0]}:{place[1]}: {place[2].strip()}")
        print(f"    {line.text}")
    pc, why = verdict_of(lines)
    row = find(why)
    if why:
        print(f"instruction {pc}: {plain(why)}" + (f" [{row.id}]\nHINT: {row.mend}" if row else ""))
    return int(bool(why))


def _likeness(judged: Judged, lines: Sequence[Line]) -> int:
    """How many instructions of a log the program has at the same slots."""
    code = judged.code.insns
    return sum(0 <= 8 * line.pc < len(code) and f"({code[8 * line.pc]:02x})" in line.text for line in lines)


def _place(judged: Judged | None, pc: int) -> tuple[str, int, str] | None:
    """The script's name, line number and text of a slot."""
    span = judged.place(pc) if judged is not None and pc >= 0 else None
    if span is None:
        return None
    row, _, text = span.locate()
    return span.source.name, row, text


def _batch() -> int:
    from functools import cache

    from pbt.verifier_sim.jsonl import main as batch

    try:
        return batch(sys.stdin, sys.stdout, cache(_running))
    except (ValueError, LookupError, TypeError) as error:
        kind = type(error).__name__
        raise UsageError(f"a line of standard input describes no program: {kind}: {error}") from None


def _running(release: str) -> dict[str, object]:
    """Types for a release, and what the running kernel says of itself if it is the running one's."""
    here = os.uname().release
    types: dict[str, object] = {"types": kernel_types(release)}
    if release.count(".") < 2 or not re.match(re.escape(release) + r"\b", here):
        return types
    return types | judging(here, ask=True)


def _judged(name: str, args: Arguments) -> Iterator[Judged]:
    from pbt.aot import is_tool, load
    from pbt.cli.trace import target_of

    data = b"" if args.has("e") else read_bytes(name)
    options: dict[str, object] = {"keep_states": args.has("states"), "log": _level(args)}
    if args.has("kernel"):
        options |= judging(_release(args.get("kernel")))
    if data[:4] == b"\x7fELF" and not is_tool(data):
        yield from _object(name, data, args, options)
    elif is_tool(data):
        yield from _bundle(name, load(data, name), target_of(args), options)
    elif args.has("e") or name.endswith(".bt") or data.startswith(b"#!"):
        yield from _script(name, data, args, options)
    else:
        yield _bare(name, data, args, options)


def _release(text: str) -> str:
    from pbt.verifier_sim.kernels import release

    if len(release(text)) < 2:
        raise UsageError(f"invalid kernel release: {text}", "a release looks like 6.1 or 6.18.44")
    return text


def _script(name: str, data: bytes, args: Arguments, options: dict[str, object]) -> Iterator[Judged]:
    from pbt.cli.trace import target_of
    from pbt.pipeline import Options, run

    text = args.get("e") if args.has("e") else text_of(data, name)
    params = args.rest if args.has("e") else ()
    target = target_of(args)
    if "kernel" in options and not args.has("target"):
        target.without |= _later(str(options["kernel"]))
    work = run(Source(name, text), target, Options(params, args.has("unsafe"), headers=headers_of(args)))
    assert work.bundle is not None
    yield from _bundle(name, work.bundle, target, options)


def _later(kernel: str) -> frozenset[str]:
    """The features that came after a release: a script is compiled as for it, not only judged."""
    from pbt.uapi.features import FEATURES
    from pbt.verifier_sim.kernels import release

    return frozenset(name for name, row in FEATURES.items() if release(row.release) > release(kernel)[:2])


def _bundle(name: str, bundle: Bundle, target: Target, options: dict[str, object]) -> Iterator[Judged]:
    from pbt.verifier_sim import verify_bundle

    source = Source(bundle.name, bundle.source)
    if "kernel" not in options:
        options = judging(bundle.release) | options
    verdicts = verify_bundle(bundle, target, **options)
    for program, verdict in zip(bundle.programs, verdicts, strict=True):
        yield Judged(f"{name}: {program.name}", verdict, program.code, _in_script(program.code, source))


def _in_script(code: Code, source: Source) -> Callable[[int], Span | None]:
    def place(pc: int) -> Span | None:
        known = code.spans[pc] if pc < len(code.spans) else None
        return Span(source, known.start, known.end) if known is not None and known.start >= 0 else None

    return place


def _object(name: str, data: bytes, args: Arguments, options: dict[str, object]) -> Iterator[Judged]:
    """The programs of an object file, judged for the target or, failing that, for this machine."""
    from pbt.bundle import Code
    from pbt.cli.trace import target_of
    from pbt.isa.insn import encode
    from pbt.objects import link

    target = target_of(args)
    release = str(options.get("kernel", target.release))
    shown = "stdin" if name == "-" else name
    found = link.read(shown, data, target.types, release, *_kind(args))
    options = judging(release) | {"types": kernel_types(release, target)} | options
    for program in found.programs:
        verdict = found.judge(program, **options)
        yield Judged(f"{shown}: {program.name}", verdict, Code(encode(program.insns)), program.place)


def _kind(args: Arguments) -> tuple[str, str]:
    """Program type and expected attach type that the command line names, "" for none."""
    from pbt.uapi.consts import ATTACH_TYPE
    from pbt.uapi.progs import PROG_TYPES

    kind, attach = args.get("type", "").upper(), args.get("attach", "").upper()
    if kind and kind not in PROG_TYPES:
        raise UsageError(
            f"unknown program type {kind}",
            did_you_mean(kind, PROG_TYPES) or "one of " + ", ".join(PROG_TYPES),
        )
    if attach and attach not in ATTACH_TYPE:
        raise UsageError(
            f"unknown attach type {attach}",
            did_you_mean(attach, ATTACH_TYPE) or "one of " + ", ".join(ATTACH_TYPE),
        )
    return kind, attach


def _bare(name: str, data: bytes, args: Arguments, options: dict[str, object]) -> Judged:
    """Instructions alone, as bytes, hexadecimal text or assembly text, which may declare maps."""
    from pbt.bundle import Code
    from pbt.cli.disasm import instructions, is_text
    from pbt.cli.trace import target_of
    from pbt.verifier_sim import verify

    kind, attach = _kind(args)
    target = target_of(args)
    if args.has("target") and "kernel" not in options:
        options = judging(target.release) | options
    options = {"types": kernel_types(str(options.get("kernel", "6.18")), target)} | options
    hexadecimal = is_text(data) and re.fullmatch(rb"[0-9a-fA-F\sx]+", data)
    if not hexadecimal and is_text(data):
        code, place, more = _assembled(data.decode(), name)
        options |= more
    else:
        code, place = Code(instructions(data, name)), lambda pc: None
    verdict = verify(code.insns, prog_type=kind or "SOCKET_FILTER", expected_attach_type=attach, **options)  # type: ignore[arg-type]
    return Judged("stdin" if name == "-" else name, verdict, code, place)


def _assembled(text: str, name: str) -> tuple[Code, Callable[[int], Span | None], dict[str, object]]:
    """A text's code, where each slot of it stands there, and what `verify` is to know of its maps."""
    from pbt.bundle import Code, Reloc
    from pbt.cli.asm import assembly
    from pbt.isa.insn import encode
    from pbt.uapi.maps import MAP_TYPES
    from pbt.verifier_sim.reg import MapInfo

    insns, spans, maps = assembly(text, name)
    for map_ in maps:
        if map_.map_type not in MAP_TYPES:
            hint = did_you_mean(map_.map_type, MAP_TYPES) or "types are named as in <linux/bpf.h>"
            raise ScriptError(f"no map is of type {map_.map_type}", map_.span, hint)
    loads = {
        at: (insn.imm, "map_fd" if insn.src_reg == 1 else "map_value", insns[at + 1].imm)
        for at, insn in enumerate(insns)
        if insn.is_wide and insn.src_reg in (1, 2) and 0 <= insn.imm < len(maps)
    }
    relocs = tuple(Reloc(at, kind, maps[n].name, off) for at, (n, kind, off) in loads.items())  # type: ignore[arg-type]
    known: dict[str, object] = {"maps": tuple(MapInfo(*map_[:5]) for map_ in maps), "map_of": loads}
    return Code(encode(insns), relocs), lambda pc: spans[pc] if 0 <= pc < len(spans) else None, known


def _shown(judged: Judged, states: bool) -> Iterator[str]:
    verdict = judged.verdict
    words = {"accept": "accepted", "reject": "refused", "unsupported": "not judged"}[verdict.kind]
    yield f"{judged.name}: {words}, {verdict.insns_processed} instructions walked"
    yield from (f"  {line}" for line in verdict.story(place=judged.place).splitlines())
    if states:
        from pbt.teach.code import rows

        for row in rows(judged.code):
            yield from (f"        ; {state}" for state in verdict.before(row.first).splitlines())
            yield f"  {row.first:4}: {row.text}"

"""The compiler from end to end: STAGES turn a source and a target into a `Bundle`.

The same source, target and options give the same bundle, byte for byte; nothing here needs root.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Mapping, Sequence

from pbt.backend.pipeline import Compiled, compile_program
from pbt.bundle import Bundle, Code, Place, Program
from pbt.data import NamedTuple, dataclass, field, replace
from pbt.feature import Context, find_provider
from pbt.ir.core import Program as IrProgram
from pbt.ir.passes import run as run_passes
from pbt.lang.check import check
from pbt.lang.expand import Attached, Expanded, expand, filtered
from pbt.lang.parse import Parsed, parse
from pbt.lang.preprocess import reads_headers
from pbt.lang.settings import settle
from pbt.lang.typed import Instance, Typed
from pbt.lang.typed import Options as CheckOptions
from pbt.lower.script import Lowered, lower
from pbt.source import ScriptError, ScriptWarning, Source, Undefined, caught, give
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.backend.shapes import Form
    from pbt.host.target import Target
    from pbt.lang.headers import Headers
    from pbt.lower.joint import Pair


class HeaderOptions(NamedTuple):
    folders: Sequence[str] = ()
    files: Sequence[str] = ()


_NO_HEADERS = HeaderOptions()


@dataclass(frozen=True)
class Options:
    """What a user may say beside the script.

    `params`: the words after the script; `pid`: probes tied to a process fire for this one alone;
    `fallback`: probes that this kernel does not have are replaced by others that come near, which is said;
    `warnings`: of which calls of the kernel's helpers that fail the user is warned: 0 none, 1 those that have
    no room in a map, 2 also reads of memory, of keys, and all others (-k);
    `environment`: where BPFTRACE_* config variables and folders of headers come from; `headers`: more folders
    of those, and files that come before the script's own includes; `mode`: "test" or "bench" for the session
    that runs such probes alone; `probe_filter`: a regular expression that the names of probes must match,
    BEGIN and END apart.
    """

    params: Sequence[str] = ()
    unsafe: bool = False
    pid: int | None = None
    fallback: bool = True
    warnings: int = 1
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    mode: str = ""
    probe_filter: str = ""
    headers: HeaderOptions = _NO_HEADERS

    @property
    def positional(self) -> list[str]:
        """$1, $2, ...: parameters that are no options of the script."""
        return [word for word in self.params if not word.startswith("--")]

    @property
    def named(self) -> dict[str, str]:
        """Options of the script, --name=value or --name, for getopt()."""
        pairs = [word[2:].partition("=") for word in self.params if word.startswith("--") and len(word) > 2]
        return {name: value for name, _, value in pairs}


@dataclass
class Work:
    """The products of the stages so far.

    `each`: every stage's product of every program is kept, for those who look at it (see `run`). Else programs of one
    shape are one from `passed` on, `forms` tells what is each one's own, and only the code is kept of what the
    backend makes.
    """

    source: Source
    target: Target
    options: Options
    parsed: Parsed | None = None
    headers: Headers | None = None
    config: dict[str, Any] | None = None
    expanded: Sequence[Expanded] = ()
    typed: Typed | None = None
    pairs: Sequence[Pair] = ()
    lowered: Lowered | None = None
    each: bool = True
    forms: Sequence[Form | None] = ()  # None: a shape of its own
    passed: tuple[IrProgram, ...] = ()
    compiled: tuple[Compiled, ...] = ()
    codes: tuple[Code, ...] = ()
    bundle: Bundle | None = None
    warnings: list[ScriptWarning] = field(default_factory=list)
    errors: list[ScriptError] = field(
        default_factory=list
    )  # those of the last stage that it could go on from

    @property
    def lasting(self) -> bool:
        """Whether the bundle would be the same as long as script, options, pbt and the kernel are: no other file
        has a part in it, nor a BPF program that is loaded now.
        """
        assert self.parsed is not None and self.typed is not None
        script = self.parsed.script
        providers = (find_provider(point.parts[0]) for probe in script.probes for point in probe.points)
        builtins = (builtin for each in self.typed.instances for builtin, _ in each.calls.values())
        bound = [each.context.attach_btf for each in self.typed.instances]
        return (
            self.headers is None
            and not any(part is None or part.files for part in (*providers, *builtins))
            and not any(what is not None and what[0] == "prog" for what in bound)
        )


def _parse(work: Work) -> None:
    predefined = {"BPFTRACE_HAVE_BTF": "1", "_LINUX_TYPES_H": "1"} if work.target.has_types else {}
    machine = {name: value or "1" for name, _, value in (m.partition("=") for m in work.target.arch.macros)}
    names = {**predefined, **machine, "__KERNEL__": "1", "KBUILD_MODNAME": '"pbt"', **_version(work.target)}
    if work.options.headers.files or reads_headers(work.source.text):
        work.headers = _headers(work)
    parsed = parse(work.source, names, headers=work.headers, errors=work.errors)
    if parsed.script.imports:
        from pbt.lang.imports import bring_in

        parsed = bring_in(parsed, lambda source: parse(source, names, False, work.headers), work.headers)
    if parsed.script.macros or parsed.script.functions:
        from pbt.lang.macros import expand_macros

        parsed = parsed._replace(script=expand_macros(parsed.script))
    work.parsed = parsed
    work.warnings += work.parsed.warnings
    work.config = settle(
        work.parsed.script.settings, work.options.environment, work.warnings.append, work.errors
    )


def _version(target: Target) -> dict[str, str]:
    """The kernel's own version, whatever headers are installed."""
    major, minor, patch = target.version
    return {"LINUX_VERSION_CODE": str((major << 16) + (minor << 8) + min(patch, 255))}


def _headers(work: Work) -> Headers:
    options = work.options
    from pbt.lang.headers import Headers, search

    where = search(work.target.arch, work.target.release, options.environment, *options.headers)
    return Headers(where)


def _expand(work: Work) -> None:
    assert work.parsed is not None and work.config is not None
    options = work.options
    work.expanded, warnings = expand(
        work.parsed.script, work.target, options.positional, work.config, options.pid, options.unsafe,
        options.fallback, options.mode, work.errors,
    )  # fmt: skip
    work.expanded = filtered(work.expanded, options.probe_filter)
    work.warnings += warnings


def _check(work: Work) -> None:
    assert work.parsed is not None and work.config is not None
    own = work.options
    options = CheckOptions(work.config, own.positional, own.unsafe, own.named, own.params)
    typed = check(work.parsed.script, work.expanded, work.parsed.defines, work.target, options, work.headers)
    work.warnings += typed.warnings
    wanted = tuple(each for each in typed.instances if each.places[0].runs_in(own.mode))
    work.typed = replace(typed, instances=wanted)
    _not_too_many(wanted, int(work.config["max_bpf_progs"]))


def _not_too_many(instances: Sequence[Instance], most: int) -> None:
    if len(instances) > most:
        raise ScriptError(
            f"Your program is trying to generate {len(instances)} BPF programs, which exceeds the current limit "
            f"of {most}",
            instances[most].probe.points[0].span,
            "raise it with BPFTRACE_MAX_BPF_PROGS=N; a body that does not use `probe` is one program for all",
        )


def _lower(work: Work) -> None:
    assert work.typed is not None and work.config is not None
    if not work.options.mode and any(each.places[0].provider.joint for each in work.typed.instances):
        from pbt.lower.joint import paired

        instances, work.pairs = paired(work.typed.instances, work.target)
        work.typed = replace(work.typed, instances=tuple(instances))
    work.lowered = lower(
        work.typed, work.source, work.target, work.config, work.options.pid, work.options.warnings
    )


def _passes(work: Work) -> None:
    assert work.lowered is not None
    programs: Sequence[IrProgram] = work.lowered.programs
    if not work.each and len(programs) > 1:
        from pbt.backend.shapes import shared

        programs, work.forms = shared(programs, {n for pair in work.pairs for n in (pair.first, pair.second)})
        work.lowered = replace(work.lowered, programs=())
    made: dict[int, IrProgram] = {}
    passed = [made.get(id(p)) or made.setdefault(id(p), run_passes(p)) for p in programs]
    for first, second, kfunc in work.pairs:
        from pbt.ir.join import joined

        passed[first] = passed[second] = joined(passed[first], passed[second], kfunc, "return.")
    work.passed = tuple(passed)


def _generate(work: Work) -> None:
    features = frozenset(f for f in ("cpu_v4",) if work.target.has(f))
    each = {id(program): program for program in work.passed}  # halves of one program are that program
    made = {key: compile_program(program, features) for key, program in each.items()}
    if work.each:
        work.compiled = tuple(made[id(program)] for program in work.passed)
    codes = [made[id(program)].code for program in work.passed]
    if any(work.forms):
        from pbt.backend.shapes import filled

        codes = [filled(code, form) if form else code for code, form in zip(codes, work.forms, strict=True)]
    work.codes = tuple(codes)


def _link(work: Work) -> None:
    assert work.typed is not None and work.lowered is not None and work.config is not None
    programs = [
        _program(attached, instance.context, code, number)
        for instance, code in zip(work.typed.instances, work.codes, strict=True)
        for number, attached in enumerate(instance.places)
    ]
    work.bundle = Bundle(
        work.source.name, work.source.text, tuple(programs), work.lowered.maps, work.lowered.events,
        work.target.arch.name, work.target.release, _relied_on(work), str(work.config["license"]), work.config,
        tuple(str(w) for w in work.warnings), work.lowered.failures,
    )  # fmt: skip


def _relied_on(work: Work) -> tuple[str, ...]:
    """Features of the kernel that the code relies on: those lowering chose, and those its parts belong to."""
    from pbt.uapi.helpers import HELPERS
    from pbt.uapi.maps import MAP_TYPES

    assert work.lowered is not None
    found = {
        HELPERS[op.name].feature
        for p in {id(p): p for p in work.passed}.values()
        for f in p.functions
        for op in f.ops()
        if op.code == "call"
    }
    found |= {MAP_TYPES[map_.map_type].feature for map_ in work.lowered.maps}
    if any(_is_v4(*fields) for c in work.codes for fields in struct.iter_unpack("<BBhi", c.insns)):
        found.add("cpu_v4")
    assert work.typed is not None
    attach_types = {instance.context.expected_attach_type for instance in work.typed.instances}
    found |= {_ATTACH_FEATURES.get(name, "") for name in attach_types}
    found |= {each.places[0].provider.cookies for each in work.typed.instances if each.context.labels}
    return tuple(sorted((found | set(work.lowered.features)) - {""}))


_ATTACH_FEATURES = {
    "TRACE_UPROBE_MULTI": "uprobe_multi", "TRACE_KPROBE_MULTI": "kprobe_multi",
    "TRACE_KPROBE_SESSION": "kprobe_session", "TRACE_UPROBE_SESSION": "uprobe_session",
    "TRACE_FENTRY": "fentry", "TRACE_FEXIT": "fexit", "TRACE_ITER": "iter",
}  # fmt: skip


def _is_v4(opcode: int, registers: int, offset: int, imm: int) -> bool:
    """Whether an instruction came with version 4 of the instruction set (Linux 6.6)."""
    if opcode & 7 in (4, 7):  # arithmetic: offsets mean sign extension and signed division; 0xd7 swaps bytes
        return offset != 0 or opcode == 0xD7
    return opcode == 0x06 or (opcode & 7 == 1 and opcode & 0xE0 == 0x80)  # gotol; sign-extending loads


def _program(attached: Attached, shared: Context, code: Code, number: int) -> Program:
    """`shared`: what all places of the instance see; `number`: which of them this is."""
    context, span = attached.context, attached.point.span
    return Program(
        context.label,
        attached.provider.name,
        context.prog_type,
        code,
        attached.place,
        shared.expected_attach_type,
        context.attach_btf,
        Place(span.start, span.end),
        number if shared.labels else 0,
    )


FRAMES = 9000  # of Python's stack, for trees as deep as lang.syntax.MOST_DEPTH allows

STAGES: tuple[tuple[str, Callable[[Work], None]], ...] = (
    ("parse", _parse),
    ("expand", _expand),
    ("check", _check),
    ("lower", _lower),
    ("passes", _passes),
    ("generate", _generate),
    ("link", _link),
)


STAGE_NAMES = tuple(name for name, _ in STAGES)


def run(
    source: Source, target: Target, options: Options | None = None, until: str = "link", each: bool = True
) -> Work:
    """All stages up to and including `until`. ScriptError(s) for what is wrong with the script.

    `each`: keep what every stage made of every program. Without it the same bundle is there sooner, see `Work`.
    """
    work = Work(source, target, options or Options(), each=each)
    sys.setrecursionlimit(max(sys.getrecursionlimit(), FRAMES))
    for name, stage in STAGES:
        stage(work)
        give(work.errors, None)
        if name == until:
            break
    return work


def diagnose(source: Source, target: Target, options: Options | None = None) -> Work:
    """Stage after stage like `run`, but going on with what has no mistakes in it: `errors` has all that were found.

    UsageError for what is wrong outside the script.
    """
    work = Work(source, target, options or Options())
    partial = False
    for name, stage in STAGES:
        if work.errors and STAGE_NAMES.index(name) > STAGE_NAMES.index("check"):
            break
        found: list[ScriptError] = []
        with caught(found):
            stage(work)
        work.errors += [error for error in found if not (partial and isinstance(error, Undefined))]
        if found:
            break
        partial = bool(work.errors)
    work.errors.sort(key=lambda error: error.span.start)
    return work


def renamed(source: Source, target: Target) -> Source:
    """The script with what the kernel calls otherwise now: members of structs, probed functions."""
    for _ in range(5):  # a place that is mended may show the next
        errors = diagnose(source, target, Options(environment={})).errors
        fixes = {(e.span.start, e.span.end): e.fix for e in errors if e.fix}
        if not fixes:
            break
        text = source.text
        for start, end in sorted(fixes, reverse=True):
            text = text[:start] + fixes[start, end] + text[end:]
        source = Source(source.name, text)
    return source


def compile(source: Source, target: Target, options: Options | None = None) -> Bundle:
    """A script → its bundle."""
    bundle = run(source, target, options, each=False).bundle
    assert bundle is not None
    return bundle

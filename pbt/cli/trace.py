"""`pbt [options] FILE | -e PROG | -`: compile, judge, load, attach, print. Also -l, --info, -V, -h."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable, Sequence

from pbt import __version__
from pbt.cli.options import Arguments, Option, parse
from pbt.cli.remembered import Remembered
from pbt.cli.say import say
from pbt.cli.verbs import DRY_RUN, HEADERS, NO_WARNINGS, RUNNING, UNSAFE, headers_of
from pbt.data import NamedTuple
from pbt.source import PbtError, Source, UsageError, nearest
from pbt.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pbt.bundle import Bundle
    from pbt.host.target import Target
    from pbt.pipeline import Work
    from pbt.runtime.session import State

STAGES = ("ast", "types", "ir", "bpf", "verifier")
STAGE_NAMES = {"parse": "ast", "codegen": "ir", "codegen-opt": "ir", "dis": "bpf"}  # as bpftrace says it
BUFFERING = ("none", "line", "full")
FORMATS = ("text", "json")


def holds_types(path: str) -> bool:
    """Whether a word names a file of BTF: `--btf FILE`, where bpftrace's --btf has no value."""
    from pbt.host.target import has_btf

    return has_btf(path)


OPTIONS = (
    Option("e", "", "PROG", "run this program"),
    Option("l", "list", "", "list probes: pbt -l ['PATTERN' | FILE | -e PROG]"),
    Option("v", "verbose", "", "say more; with -l, show arguments", many=True),
    *RUNNING,
    Option("d", "debug", "STAGE[,STAGE]", "show stages and stop: " + ", ".join((*STAGES, "all"))),
    Option("", "emit-elf", "FILE", "write the programs as a BPF object file and stop"),
    DRY_RUN,
    Option("", "test", "", "run the script's test: probes and say which passed"),
    Option("", "bench", "", "run the script's bench: probes and say how long they take"),
    UNSAFE,
    NO_WARNINGS,
    Option("", "no-fallback", "", "no other probes in place of those that this kernel does not have"),
    Option("k", "warnings", "", "warn when a read of memory or a look into a map fails", many=True),
    Option(
        "b",
        "btf",
        "[FILE]",
        "take the kernel's types from a file of BTF, or a vmlinux that has them",
        many=True,
        takes=holds_types,
    ),
    Option("", "traceable-functions", "FILE", "the kernel functions that can be traced, one a line"),
    Option("", "probe-filter", "REGEX", "of the probes, only those whose names match"),
    Option("", "no-feature", "NAME[,NAME]", "do without features of the kernel (pbt --info lists them)"),
    Option("", "mode", "MODE", ""),
    Option("", "no-run", "", "compile and judge, then stop"),
    Option("", "usdt-file-activation", "", ""),
    Option("", "debuginfo", "DIR[:DIR]", "", many=True),
    Option("", "dwarf-pid", "PID", "", many=True),
    Option("", "aot", "FILE", ""),
    Option("", "emit-llvm", "FILE", ""),
    Option("", "verify-llvm-ir", "", ""),
    *HEADERS,
    Option("", "target", "DIR", "compile for the machine saved in DIR (see pbt target)"),
    Option("", "no-verify", "", "load without asking the built-in verifier first"),
    Option("", "no-cache", "", "compile and judge anew, and keep nothing for later starts"),
    Option("", "fmt", "", "format scripts and print them: pbt --fmt [-i | --check] FILE..."),
    Option("i", "in-place", "", "with --fmt and --migrate, write back to the files"),
    Option("", "check", "", "report all errors and warnings of scripts: pbt --check FILE...; no root needed"),
    Option(
        "", "migrate", "", "print scripts of older releases in today's syntax: pbt --migrate [-i] FILE..."
    ),
    Option("", "info", "", "what this kernel and machine can do"),
    Option("V", "version", "", "version"),
    Option("h", "help", "", "this help"),
)


def main(argv: Sequence[str]) -> int:
    args = parse(argv, OPTIONS, permute=True)
    mode(args)
    if args.has("help"):
        from pbt.cli.help import help_text, script_help

        print(help_text())
        if args.has("e") or args.rest:
            print(script_help(args), end="")
        return 0
    if args.has("version"):
        print(f"pbt v{__version__}")
        return 0
    if args.has("info"):
        from pbt.cli.info import main as info

        return info(target_of(args), choice(args, "f", "-f", FORMATS, "text"))
    if args.has("fmt") or args.get("mode") == "format":
        from pbt.cli.fmt import main as fmt

        return fmt(args)
    if args.has("migrate"):
        from pbt.cli.migrate import main as migrate

        return migrate(args)
    if args.has("check"):
        from pbt.cli.check import main as check

        return check(args)
    if args.has("list"):
        from pbt.cli.list import main as listing

        return listing(args)
    return trace(args)


def mode(args: Arguments) -> None:
    """Let --mode stand for the option that it names."""
    if args.has("mode"):
        known = ", ".join(MODES)
        name = MODES.get(args.get("mode"))
        if name is None:
            raise UsageError(f"invalid value for --mode: {args.get('mode')}", f"one of {known}")
        if not any(option.long == name for option in OPTIONS):
            raise UsageError(f"--mode {args.get('mode')} is not there")
        args.given[name] = [""]


def source_of(args: Arguments) -> tuple[Source, list[str]]:
    """The script and its positional parameters."""
    if args.has("e"):
        return Source("stdin", args.get("e")), args.rest
    if not args.rest:
        raise UsageError("no program given", "pbt FILE, pbt -e 'PROGRAM', or pbt --help")
    name, *params = args.rest
    return read(name), params


_LOADER: Any = __spec__.loader if __spec__ is not None else None
ARCHIVE: Final[str] = getattr(_LOADER, "archive", "")
"""The file that pbt runs from, where all of it is in one."""


def read(name: str) -> Source:
    """A script from a file, or from standard input for "-". UsageError if it cannot be read as text."""
    try:
        if name == "-":
            return Source("stdin", sys.stdin.buffer.read().decode())
        if ARCHIVE and name.startswith(f"{ARCHIVE}/"):
            return Source(name, _LOADER.get_data(name).decode())
        with open(name, "rb") as file:
            return Source(name, file.read().decode())
    except OSError as error:
        from pbt.cli.help import meant

        hint = "" if os.path.exists(name) else meant(name)
        raise UsageError(f"cannot read {name}: {error.strerror}", hint) from None
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}"
        ) from None


def number(args: Arguments, name: str) -> int | None:
    if not args.has(name):
        return None
    text = args.get(name)
    if not text.isdigit() or not 0 < int(text) < 1 << 31:
        raise UsageError(f"invalid {name}: {text}", "it is a number above 0")
    return int(text)


def choice(args: Arguments, name: str, shown: str, known: Sequence[str], default: str) -> str:
    value = args.get(name, default)
    if value not in known:
        raise UsageError(f"invalid value for {shown}: {value}", "one of " + ", ".join(known))
    return value


def target_of(args: Arguments) -> Target:
    from pbt.host.target import Target, check_btf

    types = next(filter(None, reversed(args.all("btf"))), "")
    if types:
        check_btf(types)
        os.environ["BPFTRACE_BTF"] = types
    target = Target.load(args.get("target")) if args.has("target") else Target.live()
    if args.has("no-feature"):
        target.without = frozenset(filter(None, args.get("no-feature").split(",")))
        _known_features(target.without)
    if args.has("emit-elf"):
        target.without |= {"kprobe_session", "uprobe_session"}  # other loaders expect a program for each end
    target.traceable = args.get("traceable-functions")
    if target.traceable and not os.access(target.traceable, os.R_OK):
        raise UsageError(f"cannot read {target.traceable}, the functions that can be traced")
    return target


def mode_of(args: Arguments) -> str:
    """What kind of probes to run alone: "test", "bench", or "" for all others."""
    given = [name for name in ("test", "bench") if args.has(name)]
    if len(given) > 1:
        raise UsageError("Cannot use both --test and --bench.")
    return given[0] if given else ""


def _known_features(names: frozenset[str]) -> None:
    from pbt.uapi.features import FEATURES

    for name in sorted(names - FEATURES.keys()):
        close = nearest(name, FEATURES, 1)
        raise UsageError(
            f"unknown feature: {name}", f"did you mean {close[0]}?" if close else "pbt --info lists them"
        )


REFUSED = {
    "emit-llvm": ("pbt makes no LLVM code, so it has none to write", "-d ir and -d bpf show what it makes"),
    "verify-llvm-ir": (
        "pbt makes no LLVM code, so it has none to verify",
        "its own code is verified always: -d verifier shows how",
    ),
    "aot": ("pbt compiles into a file by a verb of its own", "pbt build SCRIPT -o FILE"),
    "dwarf-pid": ("pbt unwinds no stacks by DWARF", "ustack follows frame pointers"),
}
"""Options of bpftrace that have no meaning here: why, and what to do."""

MODES = {"bench": "bench", "test": "test", "format": "fmt", "codegen": "no-run"}
"""Values of --mode, and the options that they stand for."""


def combined(args: Arguments) -> None:
    """UsageError for options that exclude each other or mean nothing."""
    for name, (reason, hint) in REFUSED.items():
        if args.has(name):
            raise UsageError(f"--{name}: {reason}", hint)
    if args.count("warnings") > 1:
        raise UsageError("-kk is gone since bpftrace 0.23", "-k warns of failed reads of memory and maps")
    if args.has("warnings") and args.has("no-warnings"):
        raise UsageError("Cannot use both -k and --no-warnings.")
    if args.has("pid") and args.has("cmd"):
        raise UsageError("Cannot use both -c and -p.")


def stages_of(args: Arguments) -> list[str]:
    """The stages that -d names, in the order given."""
    stages = [STAGE_NAMES.get(stage, stage) for stage in args.get("debug").split(",") if stage]
    for stage in stages:
        if stage not in (*STAGES, "all"):
            raise UsageError(f"unknown stage: {stage}", "one of " + ", ".join((*STAGES, "all")))
    if args.has("debug") and not stages:
        raise UsageError("-d names no stage", "one of " + ", ".join((*STAGES, "all")))
    return list(STAGES) if "all" in stages else stages


def trace(args: Arguments) -> int:
    """Compile the script of the command line, then show it, write it, or run it."""
    combined(args)
    stages = stages_of(args)
    source, params = source_of(args)
    way = way_of(args)
    target = target_of(args)
    if "--help" in params:
        from pbt.cli.help import script_help

        print(script_help(args).lstrip("\n"), end="")
        return 0
    known = Remembered(source, params, args) if Remembered.may(args) else None
    bundle = known.find() if known else None
    if known and bundle:
        warn(bundle.warnings, args)
        try:
            return start(bundle, target, args, way)
        except PbtError:  # perhaps it was not to blame, but compiling anew is sure to be right
            known.forget()
            raise
    work = compiled(source, params, target, args, way.pid, bool(stages))
    bundle = work.bundle
    assert bundle is not None
    warn(bundle.warnings, args)
    if stages:
        from pbt.teach.stages import show

        for stage in stages:
            print(show(stage, work), end="")
        return 0
    if args.has("emit-elf"):
        from pbt.cli.verbs import write_bytes
        from pbt.objfile import write

        write_bytes(args.get("emit-elf"), write(bundle, len(target.cpus)))
        return 0
    if args.has("target") and not args.has("no-run"):
        raise UsageError(
            "a program for another machine cannot run here",
            "pbt build -o FILE --target DIR SCRIPT compiles it, --no-run only judges it",
        )
    if not args.has("no-verify"):
        judge(bundle, target, args.count("verbose") > 0)
    if args.has("no-run"):
        return 0
    keep = known.keep if known and work.lasting else None
    return start(bundle, target, args, way, keep)


def warn(warnings: Iterable[str], args: Arguments) -> None:
    """Say what the compiler warns of, unless that is not wanted."""
    if not args.has("no-warnings"):
        for warning in warnings:
            say(warning)


def compiled(
    source: Source, params: list[str], target: Target, args: Arguments, pid: int | None, each: bool
) -> Work:
    """All stages of the compiler, with the options of the command line. `each`: see `pipeline.run`."""
    from pbt.pipeline import Options, run

    options = Options(
        params, args.has("unsafe"), pid, not args.has("no-fallback"), mode=mode_of(args),
        probe_filter=args.get("probe-filter"), headers=headers_of(args),
        warnings=2 if args.has("warnings") else int(not args.has("no-warnings")),
    )  # fmt: skip
    return run(source, target, options, each=each)


class Way(NamedTuple):
    """How a session is to run: for which process, and in what form its output is."""

    pid: int | None
    buffering: str
    form: str


def way_of(args: Arguments) -> Way:
    """What -p, -B and -f say."""
    return Way(
        number(args, "pid"),
        choice(args, "B", "-B", BUFFERING, "line"),
        choice(args, "f", "-f", FORMATS, "text"),
    )


def start(
    bundle: Bundle, target: Target, args: Arguments, way: Way, keep: Callable[[Bundle], None] | None = None
) -> int:
    """Run a compiled script that was judged, with the options of the command line.

    `keep` is called once all is attached, when nobody waits for it.
    """
    from pbt.cli.service import teller
    from pbt.output.sink import JsonSink, TextSink
    from pbt.runtime.session import Session

    kind = JsonSink if way.form == "json" else TextSink
    sink = kind(args.get("output") if args.has("output") else None, way.buffering)  # type: ignore[arg-type]
    tell = teller()

    def told(state: State) -> None:
        tell(state)
        if state == "ready" and keep:
            keep(bundle)

    session = Session(
        bundle, target, pid=way.pid, cmd=args.get("cmd") if args.has("cmd") else None, sink=sink,
        quiet=args.has("quiet"), escape=sink.is_terminal(), warnings=not args.has("no-warnings"),
        dry_run=args.has("dry-run"), mode=mode_of(args), tell=told, notify=say,
        verifier_log=log_of(args.count("verbose")),
    )  # fmt: skip
    gc.freeze()  # the compiler's objects, which nobody will collect
    gc.set_threshold(100_000)  # a map that is printed is many objects at once, and no cycle
    gc.enable()
    try:
        return session.run()
    finally:
        sink.close()


def log_of(verbose: int) -> Callable[[str, str], None] | None:
    """What is said of each program that the kernel has taken: -v its verifier's last line, -vv its whole log."""

    def log(name: str, text: str) -> None:
        lines = text.rstrip("\n").splitlines()
        summary = next((line for line in reversed(lines) if line.startswith("processed ")), "")
        say(f"loaded {name}: {summary}" + "".join(f"\n    {line}" for line in lines if verbose > 1))

    return log if verbose else None


_PATIENCE = 100_000
"""Instructions walked, about a second: of what is longer, the kernel itself is asked, which is quicker."""


class VerifierError(PbtError):
    """The built-in verifier refuses a program that the compiler made."""


def judge(bundle: Bundle, target: Target, verbose: bool = False) -> None:
    """Have every program judged before the kernel of the target sees it; VerifierError for the first that fails."""
    from pbt.cli.kernel import judging
    from pbt.verifier_sim import verify_bundle

    source = Source(bundle.name, bundle.source)
    walked = 0
    for verdict in verify_bundle(bundle, target, patience=_PATIENCE, **judging(bundle.release)):
        walked += verdict.insns_processed
        if not verdict.ok:
            text = verdict.story(source)
            raise VerifierError(
                f"{text}\nHINT: the kernel would refuse this program; --no-verify asks it all the same"
            )
    if verbose:
        count = len(bundle.programs)
        say(f"built-in verifier: {count} program{'s' * (count != 1)} accepted, {walked} instructions walked")

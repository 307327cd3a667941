"""`pbt build SCRIPT -o FILE`: compile into one file that runs without the compiler."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pbt.cli.options import Arguments, Option
from pbt.cli.say import say
from pbt.cli.trace import judge, source_of, target_of
from pbt.cli.verbs import HEADERS, HELP, PROGRAM, TARGET, explained, headers_of, mixed
from pbt.source import UsageError
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.lang.ast import Definition
    from pbt.lang.typed import Instance
    from pbt.pipeline import Work
    from pbt.rows import Layout
    from pbt.types import Struct, Type

OPTIONS = (
    Option("o", "output", "FILE", "the file to write"),
    PROGRAM,
    TARGET,
    Option("q", "quiet", "", "say nothing of what was built"),
    *HEADERS,
    Option("", "unsafe", "", "allow system(), signal() and other functions that change things"),
    Option("", "no-warnings", "", "no warnings"),
    Option("", "no-verify", "", "do not ask the built-in verifier"),
    HELP,
)
USAGE = """    pbt build SCRIPT -o FILE [parameters]
    pbt build -e 'PROGRAM' -o FILE [parameters]
        compile a script into FILE, which runs by itself or with pbt run; needs no root"""


def main(argv: Sequence[str]) -> int:
    args = mixed(argv, OPTIONS, 1)
    if explained(args, USAGE, OPTIONS):
        return 0
    if not args.has("output"):
        raise UsageError("no file to write given", "pbt build SCRIPT -o FILE")
    work = compiled(args)
    assert work.bundle is not None
    if not args.has("no-warnings"):
        for warning in work.warnings:
            say(str(warning))
    if not args.has("no-verify"):
        judge(work.bundle, work.target)

    from pbt.aot import write_file
    from pbt.rows import Tool

    size = write_file(args.get("output"), Tool(work.bundle, layouts(work)))
    if not args.has("quiet"):
        count = len(work.bundle.programs)
        say(f"{args.get('output')}: {count} program{'s' * (count != 1)}, {size} bytes")
    return 0


def compiled(args: Arguments) -> Work:
    """All stages for the script that the options name."""
    from pbt.pipeline import Options, run

    source, params = source_of(args)
    return run(source, target_of(args), Options(params, args.has("unsafe"), headers=headers_of(args)))


# --- layouts ------------------------------------------------------------------------------------

_TASK = "struct task_struct"
INSIDE = {  # builtins that read the kernel's structs themselves
    "ppid": ((_TASK, "real_parent"), (_TASK, "tgid")),
    "pcomm": ((_TASK, "real_parent"), (_TASK, "comm")),
}


def layouts(work: Work) -> tuple[Layout, ...]:
    """Fields of the kernel's structs and tracepoints that the script names, as the target has them."""
    assert work.typed is not None
    own = {name for definition in work.typed.script.types for name in _defined(definition)}
    found = {
        row for instance in work.typed.instances for row in _fields(instance, work) if row.struct not in own
    }
    return tuple(sorted(found))


def _defined(definition: Definition) -> Iterator[str]:
    """The struct that a definition in the script makes: it is the same everywhere."""
    from pbt.lang import ast

    if isinstance(definition, ast.StructDef):
        yield f"{definition.kind} {definition.name}"


def _fields(instance: Instance, work: Work) -> Iterator[Layout]:
    from pbt.lang import ast
    from pbt.rows import Layout

    for builtin, _ in instance.calls.values():
        for field in INSIDE.get(builtin.name, ()):
            yield from _kernel_field(work, *field)
    for node in instance.types:
        if not isinstance(node, ast.Member):
            continue
        base = _struct(instance.types.get(node.base))
        member = base.find(node.name) if base is not None else None
        if base is not None and member is not None:
            for name in _names(base, instance):
                yield Layout(name, node.name, member.offset, member.type.size)


def _kernel_field(work: Work, struct: str, field: str) -> Iterator[Layout]:
    from pbt.rows import Layout

    found = work.target.types.struct(struct) if work.target.types is not None else None
    member = found.find(field) if found is not None else None
    if member is not None:
        yield Layout(struct, field, member.offset, member.type.size)


def _struct(type_: Type | None) -> Struct | None:
    from pbt.types import Pointer, Struct

    inner = type_.target if isinstance(type_, Pointer) else type_
    return inner if isinstance(inner, Struct) else None


def _names(base: Struct, instance: Instance) -> Iterator[str]:
    """How to find a struct again: its name in C, or the tracepoints whose record it is."""
    if base is not instance.context.args:
        if not base.name.endswith("(anon)"):
            yield base.name
    elif instance.context.provider == "tracepoint":
        yield from (attached.context.label for attached in instance.places)

"""fentry and fexit: kernel functions with typed arguments, entered through trampolines instead of traps.

They need BTF and a kernel with direct calls from ftrace, not kprobes. `kfunc` and `kretfunc` are their old
names. Functions of BPF programs that are loaded can be traced, too (bpfprog.py).
Source: Documentation/bpf/libbpf/program_types.rst; the kernel's commit fec56f5890d9 (Linux 5.5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from errno import EBUSY, EINVAL, ENOENT, EPERM
from functools import partial

from pbt.data import replace
from pbt.feature import Context, Place, Provider
from pbt.probes import bpfprog
from pbt.probes.common import count_parts, explained, is_pattern, matching, start_of_function, without_types
from pbt.probes.kprobe import KERNEL, traceable, whole
from pbt.source import Span
from pbt.types import I32, Member, Struct, Type, Void
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.btf import Btf, Param
    from pbt.host.target import Target
    from pbt.ir.core import Value
    from pbt.views import AttachHost, Closeable, Gen

_SLOT = 8  # bytes that each argument has at least in the context


def _parse(provider: str, parts: Sequence[str], span: Span) -> Place:
    if len(parts) > 1 and parts[0] == bpfprog.BPF:
        return bpfprog.parse(parts, span)
    count_parts(provider, parts, span, 1, 2)
    return {"module": parts[0] if len(parts) == 2 else "", "function": parts[-1].partition(" [")[0].strip()}


# --- what is there ----------------------------------------------------------------------------


def _types(module: str, target: Target) -> Btf | None:
    return target.types if module in ("", KERNEL) else target.module_types(module)


def _modules(pattern: str, target: Target) -> Sequence[str]:
    """Those with BTF that a pattern means, the kernel itself first; "" stands for all."""
    known = (KERNEL, *target.modules())
    return matching(pattern, known) if pattern else known


def _expand(place: Place, target: Target) -> Sequence[Place]:
    if "program" in place:
        return bpfprog.expand(place, target)
    function, module, found = place["function"], place["module"], list[Place]()
    for name in _modules(module, target):
        found += [{"module": name, "function": each} for each in _functions(name, function, target)]
        if found and not is_pattern(function + module):
            break  # a plain name is looked for in the kernel first, then in its modules
    return found


def _functions(module: str, pattern: str, target: Target) -> Sequence[str]:
    """Functions that BTF describes and, by a wildcard, that ftrace's list has too where it can be read."""
    types = _types(module, target)
    if types is None:
        return ()
    if not is_pattern(pattern):
        id = types.id_of_func(pattern)
        first = types.base.count if types.base is not None else 0  # a module's BTF asks its base as well
        return (pattern,) if id is not None and id > first else ()
    listed = traceable(target).get(module, frozenset())
    known = types.function_names
    return whole(matching(pattern, listed & known if listed else known))


def _absent(place: Place, target: Target) -> tuple[str, str] | None:
    return None if "program" in place else without_types(place, target)


def _label(provider: str, place: Place) -> str:
    function = bpfprog.name(place) if "program" in place else place["function"]
    return ":".join(filter(None, (provider, place["module"], function)))


# --- what programs see ------------------------------------------------------------------------


def _params(place: Place, target: Target) -> tuple[Sequence[Param], Param | None]:
    """The parameters, and the result as one named "retval"; None where the function returns nothing."""
    if "program" in place:
        params, value = bpfprog.signature(place, target)
        return params, value._replace(name="retval") if value is not None else None
    types = _types(place["module"], target)
    id = types.id_of_func(place["function"]) if types is not None else None
    if types is None or id is None:
        return (), None
    result = types.result(id)
    return types.params(id), None if isinstance(result.type, Void) else result._replace(name="retval")


def _members(params: Sequence[Param]) -> Iterator[Member]:
    """Each at the next multiple of 8; a struct passed by value takes as many as it needs."""
    at = 0
    for n, param in enumerate(params):
        yield Member(param.name or f"arg{n}", param.type, at, ctype=param.ctype)
        at += _room(param.type)


def _room(type_: Type) -> int:
    return max(_SLOT, -(-type_.size // _SLOT) * _SLOT)


def _describe(provider: str, place: Place, target: Target) -> Context:
    params, _ = _params(place, target)
    name, module = place["function"], place["module"]
    args = Struct(
        f"struct _{provider}_{name}",
        sum(map(_room, (p.type for p in params))),
        8,
        partial(_load, place, target),
    )
    return Context(
        provider,
        _label(provider, place),
        "TRACING",
        expected_attach_type=f"TRACE_{provider.upper()}",
        attach_btf=bpfprog.attach_btf(place)
        if "program" in place
        else ("func", name if module in ("", KERNEL) else f"{module}:{name}"),
        args=args if params else None,
        **start_of_function(target.has("get_func_ip"), "5.15"),
    )


def _load(place: Place, target: Target) -> tuple[Member, ...]:
    return tuple(_members(_params(place, target)[0]))


def _exit(place: Place, target: Target) -> Context:
    """The result stands behind the arguments."""
    _, result = _params(place, target)
    common = _describe("fexit", place, target)
    if result is None:
        return common
    if "program" in place and target.has("get_func_ret"):
        return replace(common, retval=I32, read_retval=bpfprog.result)
    return replace(
        common, retval=result.type, read_retval=_retval, detail=(result_slot(place, target), result.type)
    )


def result_slot(place: Place, target: Target) -> int:
    """Where in the context of fexit the result is, in bytes: behind the arguments."""
    return sum(_room(param.type) for param in _params(place, target)[0])


def _retval(gen: Gen) -> Value:
    return gen.argument(*gen.probe.detail)


# --- attaching --------------------------------------------------------------------------------

_HINTS = {
    ENOENT: "the function cannot be traced: pbt -l 'fentry:NAME*'",
    EINVAL: "the function has arguments that trampolines cannot pass, or is not traceable",
    EBUSY: "another tracer holds the function",
    EPERM: "run as root; a security policy may also forbid trampolines: use a tracepoint or kprobe",
}


def _attach(host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    """The program knows since it was loaded where it belongs, so it is attached by no name."""
    from pbt.sys.links import raw_tracepoint_open

    with explained(program.name, _HINTS):
        return (raw_tracepoint_open("", fd),)


# --- listing ----------------------------------------------------------------------------------


def _list(parts: Sequence[str], target: Target) -> Sequence[str]:
    if len(parts) > 1 and parts[0] == bpfprog.BPF:
        known = bpfprog.expand({"program": 0, "function": parts[-1] or "*"}, target)
        wanted = parts[1] if len(parts) > 2 else "*"
        return [f"bpf:{bpfprog.name(p)}" for p in known if matching(wanted, (str(p["program"]),))]
    module, function = ("", *parts)[-2:] if parts else ("", "*")
    return [
        f"{each}:{name}"
        for each in sorted(_modules(module, target), key="{}:".format)
        for name in _functions(each, function or "*", target)
    ]


def _fields(returns: bool, place: Place, target: Target) -> Sequence[str]:
    params, result = _params(place, target)
    shown = [*params, result] if returns and result else params
    return [f"{param.ctype} {param.name}" for param in shown]


def _provider(name: str, doc: str, aliases: tuple[str, ...], returns: bool) -> Provider:
    return Provider(
        name,
        doc,
        parse=partial(_parse, name),
        expand=_expand,
        label=partial(_label, name),
        describe=_exit if returns else partial(_describe, name),
        attach=_attach,
        absent=_absent,
        list=_list,
        fields=partial(_fields, returns),
        aliases=aliases,
        feature=name,
        reverse=True,
        listed=not returns,
    )


FENTRY = (
    _provider(
        "fentry",
        "Entry of a kernel function with typed arguments: `fentry:vfs_read { @[args.file] = count(); }`.",
        ("f", "kfunc"),
        False,
    ),
    _provider(
        "fexit",
        "Return of a kernel function: `retval`, and its arguments as `args.name`.",
        ("fr", "kretfunc"),
        True,
    ),
)

"""Functions of BPF programs that are loaded, as places of fentry and fexit: `fentry:bpf:[id:]function`.

Their types came with them. What a program calls its context is another struct in the kernel, which is what
its function is handed. Source: bpf_ctx_convert in kernel/bpf/btf.c, include/linux/bpf_types.h (Linux 5.5).
"""

from __future__ import annotations

from collections.abc import Sequence

from pbt.feature import Place
from pbt.probes.common import is_pattern, matching, number
from pbt.source import ScriptError, Span
from pbt.types import Pointer, Struct
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.host.btf import Param
    from pbt.host.programs import LoadedProgram
    from pbt.host.target import Target
    from pbt.ir.core import Value
    from pbt.views import Gen

BPF = "bpf"
_KERNELS = {  # what a program calls its context → what the kernel calls it
    "__sk_buff": "sk_buff", "xdp_md": "xdp_buff", "bpf_sock": "sock", "bpf_sock_addr": "bpf_sock_addr_kern",
    "bpf_sock_ops": "bpf_sock_ops_kern", "sk_msg_md": "sk_msg", "bpf_perf_event_data": "bpf_perf_event_data_kern",
    "bpf_cgroup_dev_ctx": "bpf_cgroup_dev_ctx", "bpf_sysctl": "bpf_sysctl_kern", "bpf_sockopt": "bpf_sockopt_kern",
    "sk_reuseport_md": "sk_reuseport_kern", "bpf_sk_lookup": "bpf_sk_lookup_kern",
}  # fmt: skip


def parse(parts: Sequence[str], span: Span) -> Place:
    """`bpf:function`, `bpf:id:function`."""
    if len(parts) == 3 and not is_pattern(parts[1]):
        return {"module": BPF, "program": number(parts[1], span, "program id"), "function": parts[2]}
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise ScriptError("functions of BPF programs are written bpf:function or bpf:id:function", span)
    return {"module": BPF, "program": 0, "function": parts[-1]}


def expand(place: Place, target: Target) -> Sequence[Place]:
    """By name, then by id: several programs may have a function of one name."""
    found = [
        (name, program.id)
        for program in target.programs
        if place["program"] in (0, program.id)
        for name in matching(place["function"], program.functions)
    ]
    return [{"module": BPF, "program": id, "function": name} for name, id in sorted(found)]


def name(place: Place) -> str:
    """Without the id where the script gives none and nothing was looked for yet."""
    return f"{place['program']}:{place['function']}" if place["program"] else place["function"]


def _program(place: Place, target: Target) -> LoadedProgram | None:
    return next((program for program in target.programs if program.id == place["program"]), None)


def signature(place: Place, target: Target) -> tuple[Sequence[Param], Param | None]:
    """The parameters and the result, in the kernel's terms."""
    program = _program(place, target)
    if program is None:
        return (), None
    function = program.functions[place["function"]]
    return [_translated(param, target) for param in program.types.params(function)], program.types.result(
        function
    )


def _translated(param: Param, target: Target) -> Param:
    pointee = param.type.target if isinstance(param.type, Pointer) else None
    kernel = _KERNELS.get(pointee.name.removeprefix("struct ")) if isinstance(pointee, Struct) else None
    found = target.types.struct(f"struct {kernel}") if kernel and target.types is not None else None
    return param if found is None else param._replace(type=Pointer(found), ctype=f"struct {kernel} *")


def result(gen: Gen) -> Value:
    """By the helper: where the verifier does not believe a function's types, the result is elsewhere."""
    room = gen.temp(8, "retval")
    gen.b.store(room.base, room.offset, 8, 0)
    gen.b.call("get_func_ret", gen.b.ctx(), gen.address(room))
    return gen.b.load(room.base, room.offset, 4, True)


def attach_btf(place: Place) -> tuple[str, str]:
    """See pbt.bundle.Program."""
    return "prog", name(place)

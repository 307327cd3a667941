"""What STRUCT_OPS programs stand for: a member of a structure of functions that the kernel calls.

Source: check_struct_ops_btf_id() and check_return_code() of kernel/bpf/verifier.c; kernel/bpf/bpf_struct_ops.c;
which members take programs, and programs that sleep, was asked by loading.
"""

from __future__ import annotations

from pbt.data import NamedTuple
from pbt.typing import Final
from pbt.uapi.btf import FUNC_PROTO, PTR
from pbt.uapi.consts import ATTACH_TYPE
from pbt.verifier_sim.env import Refuse, Unsupported
from pbt.verifier_sim.kerneltypes import KernelTypes
from pbt.verifier_sim.progbtf import Row
from pbt.verifier_sim.reg import Reg, names


class Structure(NamedTuple):
    """Members that take no programs (or, if any are named, those that do), and those whose programs may sleep.

    sleeping: None: all of them.
    """

    refused: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()
    sleeping: frozenset[str] | None = None


_SET_UP: Final = names("init_task sub_attach sub_detach init_cids init exit")
STRUCTURES: Final = {
    "tcp_congestion_ops": Structure(refused=names("get_info")),
    "bpf_dummy_ops": Structure(sleeping=names("test_sleepable")),
    "Qdisc_ops": Structure(taken=names("enqueue dequeue init reset destroy")),
    "hid_bpf_ops": Structure(sleeping=names("hid_rdesc_fixup hid_hw_request hid_hw_output_report")),
    "io_uring_bpf_ops": Structure(),
    "sched_ext_ops": Structure(
        refused=names("sub_caps_updated sub_ecaps_updated"),
        sleeping=_SET_UP
        | names("cgroup_init cgroup_exit cgroup_prep_move cgroup_set_bandwidth cpu_online cpu_offline"),
    ),
    "sched_ext_ops_cid": Structure(
        sleeping=_SET_UP
        | names("cpuctl_init cpuctl_exit cpuctl_prep_move cpuctl_set_bandwidth cid_online cid_offline"),
    ),
}
"""By name; a structure that is not here takes programs for all of its functions."""


WRITTEN: Final = {
    "tcp_congestion_ops": {
        "tcp_sock": names(
            "sk_pacing_status sk_pacing_rate pending icsk_ca_priv snd_cwnd snd_ssthresh ecn_flags app_limited "
            "snd_cwnd_cnt snd_cwnd_stamp"
        ),
    },
    "bpf_dummy_ops": {"bpf_dummy_ops_state": names("val")},
}  # fmt: skip
"""Structure of functions → the structure behind a pointer → its members that these programs may write."""


def store(types: KernelTypes | None, ops: str, struct: str, off: int, size: int) -> None:
    """Refuse a write to a kernel object that programs of the structure `ops` may not make."""
    if types is None or not types.exact:
        raise Unsupported("a write that only the types of that kernel tell about")
    if types.walk(struct, off, size).name not in WRITTEN.get(ops, {}).get(struct, ()):
        raise Refuse(f"no write support to {struct} at off {off}")


_OPTIONS: Final = names("getsockopt setsockopt")
_TCP: Final = _OPTIONS | names("tcp_send_ack sk_storage_get sk_storage_delete ktime_get_coarse_ns")


def helps(ops: str, function: str, helper: str) -> bool:
    """Whether programs for a function of the structure `ops` may call a helper that STRUCT_OPS programs may."""
    if ops == "tcp_congestion_ops":
        return not (function == "release" and helper in _OPTIONS)
    return ops != "bpf_dummy_ops" and helper not in _TCP


class Member(NamedTuple):
    """One function of a structure: its names, its prototype, and the names of its parameters in the kernel's stub."""

    struct: str
    name: str
    proto: Row
    labels: tuple[str, ...]


def member(types: KernelTypes, attach: str, target: str, sleepable: bool) -> Member:
    """The function that `target` names: "STRUCT.MEMBER", or "STRUCT" and its position as the attach type's number.

    Refuse if no program can stand for it."""
    struct, _, wanted = target.partition(".")
    id = types.struct(struct)
    if id is None or types.source.find("struct", f"bpf_struct_ops_{struct}") is None:
        raise Refuse(f"attach_btf_id {id or 0} is not a supported struct")
    row = types.row(id)
    label, type = _found(types, row, wanted, ATTACH_TYPE.get(attach, 0))
    proto = _function(types, type)
    if proto is None:
        raise Refuse(f"attach to invalid member {label} of struct {struct}")
    known = STRUCTURES.get(struct, Structure())
    allowed = label not in known.refused and (not known.taken or label in known.taken)
    if not allowed or (sleepable and known.sleeping is not None and label not in known.sleeping):
        raise Refuse(f"attach to unsupported member {label} of struct {struct}")
    stubs = (types.prototype("func", f"{ops}__{label}") for ops in (struct, struct.removesuffix("_cid")))
    stub = next(filter(None, stubs), None)
    labels = tuple(map(types.source.text, stub.words[::2])) if stub else ()
    if any("__arena" in text for text in labels):
        raise Unsupported(f"the argument of {label} that lies in an arena")
    return Member(struct, label, proto, labels)


def promoted(struct: str, reg: Reg) -> Reg:
    """Sockets of congestion control are those of TCP."""
    if struct == "tcp_congestion_ops" and reg.kind == "ptr_" and reg.obj == "sock":
        return reg._replace(obj="tcp_sock")
    return reg


def _found(types: KernelTypes, row: Row, wanted: str, position: int) -> tuple[str, int]:
    """Name and type of a member, by name or position."""
    members = [(types.source.text(name), id) for name, id, _, _ in types.members(row)]
    if wanted:
        found = next(((name, id) for name, id in members if name == wanted), None)
        if found is None:
            raise Unsupported(f"struct {row.name} has no member {wanted}")
        return found
    if position >= len(members):
        raise Refuse(f"attach to invalid member idx {position} of struct {row.name}")
    return members[position]


def _function(types: KernelTypes, id: int) -> Row | None:
    """The prototype behind a pointer to functions."""
    row = types.plain(id)[1]
    if row.kind != PTR:
        return None
    row = types.plain(row.size)[1]
    return row if row.kind == FUNC_PROTO else None


__all__ = ["STRUCTURES", "Member", "helps", "member", "promoted", "store"]

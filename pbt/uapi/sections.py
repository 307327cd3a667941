"""Sections of BPF object files: what their names say of the programs in them.

Source: the table of conventions in libbpf's documentation (program_types.rst).
"""

from __future__ import annotations

from pbt.data import NamedTuple


class Sort(NamedTuple):
    """How programs of a section load: type, expected attach type ("" for none), whether they may sleep."""

    prog_type: str
    attach: str = ""
    sleepable: bool = False


def _sock_addr() -> dict[str, Sort]:
    found = {}
    for name, word in (
        ("bind", "BIND"), ("connect", "CONNECT"), ("sendmsg", "SENDMSG"), ("recvmsg", "RECVMSG"),
        ("getpeername", "GETPEERNAME"), ("getsockname", "GETSOCKNAME"),
    ):  # fmt: skip
        kind = "UDP" if word in ("SENDMSG", "RECVMSG") else "INET"
        for family in "46":
            found[f"cgroup/{name}{family}"] = Sort("CGROUP_SOCK_ADDR", f"CGROUP_{kind}{family}_{word}")
        if name != "bind":
            found[f"cgroup/{name}_unix"] = Sort("CGROUP_SOCK_ADDR", f"CGROUP_UNIX_{word}")
    return found


def _tracing() -> dict[str, Sort]:
    found = {}
    for name, attach in (
        ("fentry", "TRACE_FENTRY"), ("fexit", "TRACE_FEXIT"), ("fmod_ret", "MODIFY_RETURN"), ("iter", "TRACE_ITER")
    ):  # fmt: skip
        found[name], found[f"{name}.s"] = Sort("TRACING", attach), Sort("TRACING", attach, True)
    for name, attach in (("uprobe", ""), ("uretprobe", ""), ("usdt", "")):
        found[name], found[f"{name}.s"] = Sort("KPROBE", attach), Sort("KPROBE", attach, True)
    for name in ("uprobe.multi", "uretprobe.multi"):
        found[name] = Sort("KPROBE", "TRACE_UPROBE_MULTI")
        found[f"{name}.s"] = Sort("KPROBE", "TRACE_UPROBE_MULTI", True)
    found["uprobe.session"] = Sort("KPROBE", "TRACE_UPROBE_SESSION")
    found["uprobe.session.s"] = Sort("KPROBE", "TRACE_UPROBE_SESSION", True)
    return found


PLACED: dict[str, Sort] = {
    "kprobe": Sort("KPROBE"), "kretprobe": Sort("KPROBE"),
    "ksyscall": Sort("KPROBE"), "kretsyscall": Sort("KPROBE"),
    "kprobe.multi": Sort("KPROBE", "TRACE_KPROBE_MULTI"), "kretprobe.multi": Sort("KPROBE", "TRACE_KPROBE_MULTI"),
    "kprobe.session": Sort("KPROBE", "TRACE_KPROBE_SESSION"),
    "tracepoint": Sort("TRACEPOINT"), "tp": Sort("TRACEPOINT"),
    "raw_tracepoint": Sort("RAW_TRACEPOINT"), "raw_tp": Sort("RAW_TRACEPOINT"),
    "raw_tracepoint.w": Sort("RAW_TRACEPOINT_WRITABLE"), "raw_tp.w": Sort("RAW_TRACEPOINT_WRITABLE"),
    "tp_btf": Sort("TRACING", "TRACE_RAW_TP"), "freplace": Sort("EXT"),
    "lsm": Sort("LSM", "LSM_MAC"), "lsm.s": Sort("LSM", "LSM_MAC", True), "lsm_cgroup": Sort("LSM", "LSM_CGROUP"),
    "struct_ops": Sort("STRUCT_OPS"), "struct_ops.s": Sort("STRUCT_OPS", "", True),
    **_tracing(),
}  # fmt: skip
"""Names that may go on behind a slash, with where the program attaches."""

EXACT: dict[str, Sort] = {
    "socket": Sort("SOCKET_FILTER"), "sk_lookup": Sort("SK_LOOKUP", "SK_LOOKUP"),
    "sk_reuseport": Sort("SK_REUSEPORT", "SK_REUSEPORT_SELECT"),
    "sk_reuseport/migrate": Sort("SK_REUSEPORT", "SK_REUSEPORT_SELECT_OR_MIGRATE"),
    "tc": Sort("SCHED_CLS"), "classifier": Sort("SCHED_CLS"), "action": Sort("SCHED_ACT"),
    "tc/ingress": Sort("SCHED_CLS", "TCX_INGRESS"), "tc/egress": Sort("SCHED_CLS", "TCX_EGRESS"),
    "tcx/ingress": Sort("SCHED_CLS", "TCX_INGRESS"), "tcx/egress": Sort("SCHED_CLS", "TCX_EGRESS"),
    "netkit/primary": Sort("SCHED_CLS", "NETKIT_PRIMARY"), "netkit/peer": Sort("SCHED_CLS", "NETKIT_PEER"),
    "xdp": Sort("XDP", "XDP"), "xdp.frags": Sort("XDP", "XDP"),
    "xdp/devmap": Sort("XDP", "XDP_DEVMAP"), "xdp.frags/devmap": Sort("XDP", "XDP_DEVMAP"),
    "xdp/cpumap": Sort("XDP", "XDP_CPUMAP"), "xdp.frags/cpumap": Sort("XDP", "XDP_CPUMAP"),
    "perf_event": Sort("PERF_EVENT"), "syscall": Sort("SYSCALL", "", True), "netfilter": Sort("NETFILTER", "NETFILTER"),
    "lwt_in": Sort("LWT_IN"), "lwt_out": Sort("LWT_OUT"), "lwt_xmit": Sort("LWT_XMIT"),
    "lwt_seg6local": Sort("LWT_SEG6LOCAL"), "sockops": Sort("SOCK_OPS", "CGROUP_SOCK_OPS"),
    "sk_skb": Sort("SK_SKB"), "sk_skb/stream_parser": Sort("SK_SKB", "SK_SKB_STREAM_PARSER"),
    "sk_skb/stream_verdict": Sort("SK_SKB", "SK_SKB_STREAM_VERDICT"),
    "sk_skb/verdict": Sort("SK_SKB", "SK_SKB_VERDICT"),
    "sk_msg": Sort("SK_MSG", "SK_MSG_VERDICT"), "lirc_mode2": Sort("LIRC_MODE2", "LIRC_MODE2"),
    "flow_dissector": Sort("FLOW_DISSECTOR", "FLOW_DISSECTOR"), "cgroup/skb": Sort("CGROUP_SKB"),
    "cgroup_skb/ingress": Sort("CGROUP_SKB", "CGROUP_INET_INGRESS"),
    "cgroup_skb/egress": Sort("CGROUP_SKB", "CGROUP_INET_EGRESS"),
    "cgroup/sock": Sort("CGROUP_SOCK", "CGROUP_INET_SOCK_CREATE"),
    "cgroup/sock_create": Sort("CGROUP_SOCK", "CGROUP_INET_SOCK_CREATE"),
    "cgroup/sock_release": Sort("CGROUP_SOCK", "CGROUP_INET_SOCK_RELEASE"),
    "cgroup/post_bind4": Sort("CGROUP_SOCK", "CGROUP_INET4_POST_BIND"),
    "cgroup/post_bind6": Sort("CGROUP_SOCK", "CGROUP_INET6_POST_BIND"),
    "cgroup/sysctl": Sort("CGROUP_SYSCTL", "CGROUP_SYSCTL"), "cgroup/dev": Sort("CGROUP_DEVICE", "CGROUP_DEVICE"),
    "cgroup/getsockopt": Sort("CGROUP_SOCKOPT", "CGROUP_GETSOCKOPT"),
    "cgroup/setsockopt": Sort("CGROUP_SOCKOPT", "CGROUP_SETSOCKOPT"),
    **_sock_addr(),
}  # fmt: skip
"""Names that stand alone."""


def sort(section: str) -> Sort | None:
    """How programs of a section load; None if its name does not say. "?" before it: not loaded by default."""
    name = section.removeprefix("?")
    return EXACT.get(name) or PLACED.get(name.partition("/")[0])

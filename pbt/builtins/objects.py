"""What the kernel says about its own objects where it trusts their address: path socket_cookie."""

from __future__ import annotations

from pbt.feature import Builtin, Call, Mem
from pbt.types import U64, Pointer, Str, Struct, Type
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.ir.core import Value
    from pbt.views import Checks, Gen

_TRUSTING = ("TRACING", "LSM")  # types of programs whose arguments the verifier knows by BTF


def _want(checks: Checks, call: Call, *names: str) -> None:
    """The first argument is (the address of) one of these structs, in a probe that knows it by BTF."""
    kind = call.types[0]
    struct = kind.target if isinstance(kind, Pointer) else kind
    if not isinstance(struct, Struct) or struct.name not in names:
        raise checks.error(
            f"{call.name}() expects a pointer to {' or '.join(names)} ({kind} provided)",
            checks.span(call.args[0]),
        )
    if call.probe.prog_type not in _TRUSTING:
        raise checks.error(
            f"{call.name}() cannot be used in {call.probe.provider} probes",
            call.span,
            "fentry, fexit and iter probes know their arguments by type, as it needs",
        )


def _check_path(checks: Checks, call: Call) -> Type:
    _want(checks, call, "struct path")
    most = int(checks.config["max_strlen"])
    if len(call.args) < 2:
        return Str(most)
    return Str(max(1, min(most, checks.literal_int(call.args[1], "path() size"))))


def _path(gen: Gen, call: Call, to: Mem) -> None:
    size = gen.type(call.node).size
    gen.zero(to, size)
    place = gen.tracked(call.args[0])
    with gen.b.when("ne", place.base):
        gen.b.call("d_path", gen.address(place), gen.address(to), size)


def _check_cookie(checks: Checks, call: Call) -> Type:
    _want(checks, call, "struct sock", "struct sock_common")
    return U64


def _cookie(gen: Gen, call: Call) -> Value:
    place = gen.tracked(call.args[0])
    return gen.b.choose(
        "ne", place.base, 0, lambda: gen.b.call("get_socket_cookie", gen.address(place)), lambda: 0
    )


PATH = Builtin(
    "path",
    "(struct path * [, size]) -> string",
    "The full name of a file, from its struct path.",
    _check_path,
    into=_path,
)
SOCKET_COOKIE = Builtin(
    "socket_cookie",
    "(struct sock *) -> uint64",
    "A number that a socket keeps for its life.",
    _check_cookie,
    _cookie,
)

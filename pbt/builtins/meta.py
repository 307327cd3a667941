"""What is known of expressions while compiling: is_str is_ptr ..., assert_str, default_str_length, config."""

from __future__ import annotations

from collections.abc import Callable

from pbt.feature import Builtin, Call
from pbt.types import VOID, Array, Int, Pointer, Str, Type
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.lang import ast
    from pbt.views import Checks, Gen

_PLAIN = (bool, int, str)


def _asks(holds: Callable[[Checks, ast.Expr, Type], bool]) -> Callable[[Checks, Call], Type]:
    """A check that lets the call stand for what is known of its argument."""
    return lambda checks, call: checks.become(
        call.node, holds(checks, call.args[0], checks.type_of(call.args[0]))
    )


def _is_type(*kinds: type[Type]) -> Callable[[Checks, Call], Type]:
    return _asks(lambda checks, node, kind: isinstance(kind, kinds))


def _check_text(checks: Checks, call: Call) -> Type:
    kind = checks.type_of(call.args[0])
    if not isinstance(kind, (Str, Array, Pointer)):
        raise checks.error(
            f"string-like values are strings, arrays or pointers ({kind} provided)",
            checks.span(call.args[0]),
            "str(address) makes a string",
        )
    return VOID


def _check_length(checks: Checks, call: Call) -> Type:
    return checks.become(call.node, int(checks.config["max_strlen"]))


def _check_config(checks: Checks, call: Call) -> Type:
    known = {name: value for name, value in checks.config.items() if isinstance(value, _PLAIN)}
    return checks.become(call.node, known)


def _nothing(gen: Gen, call: Call) -> None:
    """Settled while compiling."""


def _predicate(name: str, doc: str, check: Callable[[Checks, Call], Type]) -> Builtin:
    return Builtin(name, "(value) -> bool", f"Whether the value is {doc}.", check, raw_args=True)


IS_STR = _predicate("is_str", "a string", _is_type(Str))
IS_PTR = _predicate("is_ptr", "a pointer", _is_type(Pointer))
IS_ARRAY = _predicate("is_array", "an array", _is_type(Array))
IS_INTEGER = _predicate("is_integer", "an integer", _is_type(Int))
IS_UNSIGNED = _predicate(
    "is_unsigned_integer", "an integer without a sign",
    _asks(lambda checks, node, kind: isinstance(kind, Int) and not kind.signed),
)  # fmt: skip
IS_LITERAL = _predicate(
    "is_literal", "known while compiling", _asks(lambda checks, node, kind: checks.is_known(node))
)
ASSERT_STR = Builtin(
    "assert_str", "(value) -> void", "An error unless the value can be taken for a string.",
    _check_text, effect=_nothing, raw_args=True,
)  # fmt: skip
DEFAULT_STR_LENGTH = Builtin(
    "default_str_length", "() -> uint64", "How many bytes str() reads where no length is given (max_strlen).",
    _check_length, variable=True,
)  # fmt: skip
CONFIG = Builtin(
    "config", "() -> record", "The config variables of this script.", _check_config, variable=True
)

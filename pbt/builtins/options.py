"""What the script's own command line says: getopt."""

from __future__ import annotations

from pbt.feature import Builtin, Call
from pbt.types import Bool, Str, Type, is_integral
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.views import Checks

_TRUTH = {"": True, "true": True, "1": True, "false": False, "0": False}


def _check_getopt(checks: Checks, call: Call) -> Type:
    """The option's text as what the default is: a flag without one, a number or a string."""
    name = checks.literal_str(call.args[0], "getopt() name")
    about = checks.literal_str(call.args[2], "getopt() description") if len(call.args) > 2 else ""
    given = checks.option(name, about)
    if len(call.args) < 2 or isinstance(checks.type_of(call.args[1]), Bool):
        default = bool(len(call.args) > 1 and checks.known_int(call.args[1]))
        _one_default(checks, call, name, default)
        if given is not None and given.lower() not in _TRUTH:
            raise checks.error(f"--{name} is true or false, not {given}", call.span)
        return checks.become(call.node, default if given is None else _TRUTH[given.lower()])
    kind = checks.type_of(call.args[1])
    if isinstance(kind, Str):
        _with_value(checks, call, name, "a text")
        text = checks.literal_str(call.args[1], "getopt() default")
        _one_default(checks, call, name, text)
        return checks.become(call.node, text if given is None else given)
    if not is_integral(kind):
        raise checks.error("getopt() default must be a boolean, a number or a string", call.span)
    number = checks.literal_int(call.args[1], "getopt() default")
    _one_default(checks, call, name, number)
    _with_value(checks, call, name, "a number")
    if given is None:
        return checks.become(call.node, number)
    try:
        return checks.become(call.node, int(given, 0))
    except ValueError:
        raise checks.error(f"--{name} is a number, not {given!r}", call.span) from None


def _one_default(checks: Checks, call: Call, name: str, default: bool | int | str) -> None:
    known = checks.default(name, default)
    if (type(known), known) != (type(default), default):
        raise checks.error(
            f"option '{name}' needs to have the same default value in all places, not {_shown(default)}. "
            f"Previous default value: {_shown(known)}",
            call.span,
        )


def _shown(value: bool | int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def _with_value(checks: Checks, call: Call, name: str, what: str) -> None:
    """Refuse `--name VALUE`, which gives the option nothing and the script a parameter."""
    word = checks.without_value(name)
    if word is not None:
        from shlex import quote

        value = word if word and not word.startswith("--") else "VALUE"
        raise checks.error(
            f"--{name} has no value, it is {what}", call.span, f"write --{name}={quote(value)}"
        )


GETOPT = Builtin(
    "getopt", "(name [, default [, description]]) -> bool, int64 or string",
    "An option of the script itself, given as --name=value after the script.",
    _check_getopt, raw_args=True,
)  # fmt: skip

"""Config variables: names, defaults, kinds; from the script's config block and the environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pbt.data import NamedTuple
from pbt.lang import ast
from pbt.source import ScriptError, ScriptWarning, UsageError, caught, give, nearest
from pbt.typing import Any


class Setting(NamedTuple):
    name: str
    default: int | str | bool
    choices: tuple[str, ...] = ()
    least: int = 0
    also: Mapping[str, str] = {}  # other spellings of the choices


_CACHES = {"1": "PER_PID", "0": "NONE", "per_pid": "PER_PID", "per_program": "PER_PROGRAM", "none": "NONE"}
_ALLOWED = {"1": "enable", "true": "enable", "0": "error", "false": "error"}

SETTINGS: dict[str, Setting] = {
    row.name: row
    for row in (
        Setting("missing_probes", "error", ("error", "warn", "ignore")),
        Setting("max_strlen", 1024, least=1),
        Setting("max_map_keys", 4096, least=1),
        Setting("max_probes", 1024, least=1),
        Setting("max_bpf_progs", 1024, least=1),
        Setting("on_stack_limit", 128),
        Setting("perf_rb_pages", 1024),
        Setting("print_maps_on_exit", True),
        Setting("stack_mode", "bpftrace", ("bpftrace", "perf", "raw", "build_id")),
        Setting("str_trunc_trailer", ".."),
        Setting(
            "cache_user_symbols",
            "PER_PID",
            ("PER_PID", "PER_PROGRAM", "NONE"),
            also=_CACHES,
        ),
        Setting("user_symbols", True),
        Setting("lazy_symbolication", True),
        Setting("cpp_demangle", True),
        Setting("max_cat_bytes", 10240, least=1),
        Setting("log_size", 1000000, least=1),
        Setting(
            "license",
            "GPL",
            ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"),
        ),
        Setting("show_debug_info", False),
        Setting("use_blazesym", False),
        Setting("unstable_tseries", "warn", ("error", "warn", "enable"), also=_ALLOWED),
        Setting("unstable_dw_ustack", "warn", ("error", "warn", "enable"), also=_ALLOWED),
        Setting("unstable_import_statement", "error", ("error", "warn", "enable"), also=_ALLOWED),
        Setting("unstable_typeinfo", "error", ("error", "warn", "enable"), also=_ALLOWED),
    )
}
"""Every config variable that scripts may set."""

REMOVED = ("symbol_source", "max_type_res_iterations", "unstable_addr", "unstable_import", "unstable_macro",
           "unstable_map_decl")  # fmt: skip
ENVIRONMENT_ONLY = ("btf", "kernel_build", "kernel_source", "vmlinux")
RENAMED = {"strlen": "max_strlen", "map_keys_max": "max_map_keys", "cat_bytes_max": "max_cat_bytes",
           "no_cpp_demangle": "cpp_demangle", "no_user_symbols": "user_symbols"}  # fmt: skip
"""Names of bpftrace before 0.20; those that begin with "no_" say the opposite."""
_PREFIX = "BPFTRACE_"
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def settle(
    settings: Sequence[ast.Setting],
    environment: Mapping[str, str],
    warn: Callable[[ScriptWarning], None] = lambda warning: None,
    errors: list[ScriptError] | None = None,
) -> dict[str, Any]:
    """All config variables: defaults, then the script's, then the environment's.

    Names and values in the script that are wrong go to `errors`, or are raised; UsageError for the environment's.
    """
    config: dict[str, Any] = {row.name: row.default for row in SETTINGS.values()}
    found: list[ScriptError] = []
    for node in settings:
        name = node.name.lower().removeprefix(_PREFIX.lower())
        with caught(found):
            if name in REMOVED:
                warn(ScriptWarning(f"{node.name} has no effect any more", node.span))
            else:
                config.update(_from_script(node, name, warn))
    give(found, errors)
    for key, text in environment.items():
        if key.startswith(_PREFIX):
            config.update(_from_environment(key, text))
    return config


def _from_script(
    node: ast.Setting, name: str, warn: Callable[[ScriptWarning], None]
) -> Iterator[tuple[str, Any]]:
    if name in ENVIRONMENT_ONLY:
        raise ScriptError(
            f"{node.name} can only be set in the environment, as {_PREFIX}{name.upper()}", node.span
        )
    row = SETTINGS.get(RENAMED.get(name, name))
    if row is None:
        close = nearest(name, SETTINGS)
        hint = f"did you mean {close[0]}?" if close else ""
        raise ScriptError(f"{node.name}: not a known configuration option", node.span, hint)
    if name in RENAMED:
        warn(ScriptWarning(f"{node.name} was renamed to {row.name}", node.span))
    problem, value = _convert(row, node.value)
    if problem:
        raise ScriptError(f"Invalid value for {name}: {node.value}", node.span, problem)
    yield row.name, not value if name.startswith("no_") else value


def _from_environment(key: str, text: str) -> Iterator[tuple[str, Any]]:
    """Other variables of this prefix are none of ours to judge."""
    name = key.removeprefix(_PREFIX).lower()
    row = SETTINGS.get(RENAMED.get(name, name))
    if row is not None:
        problem, value = _convert(row, text)
        if problem:
            raise UsageError(f"Invalid value for {key}: {text}", problem)
        yield row.name, not value if name.startswith("no_") else value


def _convert(row: Setting, value: str | int) -> tuple[str, Any]:
    """(what is wrong, or "", value)."""
    if isinstance(row.default, bool):
        truth = _TRUTH.get(str(value).lower())
        return ("true or false", None) if truth is None else ("", truth)
    if isinstance(row.default, int):
        text = str(value)
        if not text.isdigit() or int(text) < row.least:
            return f"a number, at least {row.least}", None
        return "", int(text)
    text = row.also.get(str(value), str(value))
    if row.choices and text not in row.choices:
        return "one of " + ", ".join(row.choices), None
    return "", text

"""Config variables: names, defaults, kinds; from the script's config block and the environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pbt.lang import ast
from pbt.source import ScriptError, UsageError, nearest


class Setting(NamedTuple):
    name: str
    default: int | str | bool
    choices: tuple[str, ...] = ()
    least: int = 0


SETTINGS: dict[str, Setting] = {
    row.name: row
    for row in (
        Setting("missing_probes", "error", ("error", "warn", "ignore")),
        Setting("max_strlen", 1024, least=1),
        Setting("max_map_keys", 4096, least=1),
        Setting("max_probes", 1024, least=1),
        Setting("max_bpf_progs", 1024, least=1),
        Setting("on_stack_limit", 128),
        Setting("perf_rb_pages", 1024, least=1),
        Setting("print_maps_on_exit", True),
        Setting("stack_mode", "bpftrace", ("bpftrace", "perf", "raw")),
        Setting("str_trunc_trailer", ".."),
        Setting("cache_user_symbols", "PER_PID"),
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
        Setting("unstable_tseries", "warn", ("error", "warn", "enable")),
        Setting("unstable_dw_ustack", "warn", ("error", "warn", "enable")),
    )
}
"""Every config variable that scripts may set."""

REMOVED = ("symbol_source", "max_type_res_iterations", "unstable_addr", "unstable_import", "unstable_macro",
           "unstable_map_decl")  # fmt: skip
ENVIRONMENT_ONLY = ("btf", "kernel_build", "kernel_source", "vmlinux")
RENAMED = {"strlen": "max_strlen", "map_keys_max": "max_map_keys", "cat_bytes_max": "max_cat_bytes",
           "no_cpp_demangle": "cpp_demangle"}  # fmt: skip
_PREFIX = "BPFTRACE_"
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def settle(settings: Sequence[ast.Setting], environment: Mapping[str, str]) -> dict[str, Any]:
    """All config variables: defaults, then the script's, then the environment's.

    Raises ScriptError for a name or value in the script, UsageError for one in the environment.
    """
    config: dict[str, Any] = {row.name: row.default for row in SETTINGS.values()}
    for node in settings:
        name = node.name.removeprefix(_PREFIX).lower()
        if name in REMOVED:
            continue
        if name in ENVIRONMENT_ONLY:
            raise ScriptError(
                f"{node.name} can only be set in the environment, as {_PREFIX}{name.upper()}", node.span
            )
        if name in RENAMED:
            raise ScriptError(f"{node.name} was renamed to {RENAMED[name]}", node.span)
        row = SETTINGS.get(name)
        if row is None:
            close = nearest(name, SETTINGS)
            raise ScriptError(
                f"Unrecognized config variable: {node.name}",
                node.span,
                f"did you mean {close[0]}?" if close else "",
            )
        problem, config[name] = _convert(row, node.value)
        if problem:
            raise ScriptError(f"Invalid value for {name}: {node.value}", node.span, problem)
    for key, text in environment.items():
        if not key.startswith(_PREFIX):
            continue
        name = key.removeprefix(_PREFIX).lower()
        row = SETTINGS.get(RENAMED.get(name, name))
        if row is not None:
            problem, value = _convert(row, text)
            if problem:
                raise UsageError(f"Invalid value for {key}: {text}", problem)
            config[row.name] = not value if name.startswith("no_") else value
    return config


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
    if row.choices and str(value) not in row.choices:
        return "one of " + ", ".join(row.choices), None
    return "", str(value)

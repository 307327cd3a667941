"""Config variables: defaults, the script's, the environment's, in that order."""

from __future__ import annotations

from typing import Any

import pytest

from pbt.lang.settings import SETTINGS, settle
from pbt.source import ScriptError, ScriptWarning, UsageError
from tests.unit.lang.shown import parsed


def settled(block: str = "", **environment: str) -> dict[str, Any]:
    text = f"config = {{ {block} }}\n" if block else ""
    return settle(parsed(text + "BEGIN { }").script.settings, environment)


def test_defaults() -> None:
    config = settled()
    assert config == {name: row.default for name, row in SETTINGS.items()}
    assert (config["max_strlen"], config["max_map_keys"], config["missing_probes"]) == (1024, 4096, "error")


@pytest.mark.parametrize(
    ("block", "name", "value"),
    [
        ("max_strlen = 64", "max_strlen", 64),
        ("BPFTRACE_MAX_STRLEN = 64", "max_strlen", 64),
        ("missing_probes = ignore", "missing_probes", "ignore"),
        ('missing_probes = "warn";', "missing_probes", "warn"),
        ("print_maps_on_exit = false", "print_maps_on_exit", False),
        ("print_maps_on_exit = 0", "print_maps_on_exit", False),
        ("lazy_symbolication = true", "lazy_symbolication", True),
        ("on_stack_limit = 0", "on_stack_limit", 0),
        ('license = "Dual BSD/GPL"', "license", "Dual BSD/GPL"),
        ('str_trunc_trailer = "~"', "str_trunc_trailer", "~"),
        ("stack_mode = perf", "stack_mode", "perf"),
    ],
)
def test_the_script_sets(block: str, name: str, value: object) -> None:
    config = settled(block)
    assert config[name] == value and type(config[name]) is type(value)
    assert {k for k in config if config[k] != SETTINGS[k].default} <= {name}


def test_the_environment_wins() -> None:
    assert settled("max_strlen = 64", BPFTRACE_MAX_STRLEN="32")["max_strlen"] == 32
    assert settled(BPFTRACE_STRLEN="99")["max_strlen"] == 99
    assert settled(BPFTRACE_NO_CPP_DEMANGLE="1")["cpp_demangle"] is False
    assert settled(BPFTRACE_NO_CPP_DEMANGLE="0")["cpp_demangle"] is True
    assert settled(MAX_STRLEN="1", BPFTRACE_SOMETHING_ELSE="1") == settled()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("max_strlne = 1", "max_strlne: not a known configuration option"),
        ("vmlinux = x", "can only be set in the environment, as BPFTRACE_VMLINUX"),
        ("missing_probes = maybe", "Invalid value for missing_probes"),
        ("max_strlen = 0", "Invalid value for max_strlen: 0"),
        ("max_strlen = lots", "Invalid value for max_strlen: lots"),
        ("print_maps_on_exit = 2", "Invalid value for print_maps_on_exit"),
        ("license = MIT", "Invalid value for license"),
    ],
)
def test_the_scripts_mistakes(block: str, message: str) -> None:
    with pytest.raises(ScriptError, match=message) as caught:
        settled(block)
    assert caught.value.span.text.startswith(block.partition(" ")[0])


def test_did_you_mean() -> None:
    with pytest.raises(ScriptError) as caught:
        settled("max_strlne = 1")
    assert caught.value.hint == "did you mean max_strlen?"


def test_removed_variables_are_ignored() -> None:
    assert settled("symbol_source = dwarf") == settled()


def test_the_environments_mistakes_are_not_the_scripts() -> None:
    with pytest.raises(UsageError, match="BPFTRACE_MAX_STRLEN: much"):
        settled(BPFTRACE_MAX_STRLEN="much")


@pytest.mark.parametrize(
    ("block", "name", "value", "message"),
    [
        ("strlen = 64", "max_strlen", 64, "strlen was renamed to max_strlen"),
        ("BPFTRACE_MAP_KEYS_MAX = 9", "max_map_keys", 9, "was renamed to max_map_keys"),
        ("no_cpp_demangle = 1", "cpp_demangle", False, "was renamed to cpp_demangle"),
        ("unstable_map_decl = enable", "max_strlen", 1024, "unstable_map_decl has no effect any more"),
        ("symbol_source = dwarf", "max_strlen", 1024, "symbol_source has no effect any more"),
    ],
)
def test_old_names_are_warned_about(block: str, name: str, value: object, message: str) -> None:
    said: list[ScriptWarning] = []
    config = settle(parsed(f"config = {{ {block} }}\nBEGIN {{ }}").script.settings, {}, said.append)
    assert config[name] == value and [message in str(each) for each in said] == [True]


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("BPFTRACE_STRLEN", "32", "max_strlen", 32),
        ("BPFTRACE_MAP_KEYS_MAX", "8", "max_map_keys", 8),
        ("BPFTRACE_CAT_BYTES_MAX", "8", "max_cat_bytes", 8),
        ("BPFTRACE_NO_CPP_DEMANGLE", "1", "cpp_demangle", False),
        ("BPFTRACE_NO_USER_SYMBOLS", "1", "user_symbols", False),
        ("BPFTRACE_CACHE_USER_SYMBOLS", "0", "cache_user_symbols", "NONE"),
        ("BPFTRACE_UNSTABLE_TYPEINFO", "1", "unstable_typeinfo", "enable"),
        ("BPFTRACE_CACHE_USER_SYMBOLS", "PER_PROGRAM", "cache_user_symbols", "PER_PROGRAM"),
        ("BPFTRACE_LOG_SIZE", "5000", "log_size", 5000),
        ("BPFTRACE_MAX_PROBES", "7", "max_probes", 7),
        ("BPFTRACE_MAX_BPF_PROGS", "7", "max_bpf_progs", 7),
        ("BPFTRACE_PERF_RB_PAGES", "8", "perf_rb_pages", 8),
        ("BPFTRACE_PERF_RB_PAGES", "0", "perf_rb_pages", 0),
        ("BPFTRACE_CACHE_USER_SYMBOLS", "per_program", "cache_user_symbols", "PER_PROGRAM"),
        ("BPFTRACE_STACK_MODE", "build_id", "stack_mode", "build_id"),
        ("BPFTRACE_MAX_TYPE_RES_ITERATIONS", "9", "max_strlen", 1024),
        ("BPFTRACE_DEBUG_OUTPUT", "1", "max_strlen", 1024),
    ],
)
def test_the_environment_knows_old_names(variable: str, text: str, name: str, value: object) -> None:
    assert settled(**{variable: text})[name] == value

"""A bundle is found again only while everything that it depends on is equal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pbt.bundle import Bundle
from pbt.cli import remembered
from pbt.cli.options import Arguments, parse
from pbt.cli.remembered import Remembered
from pbt.cli.trace import OPTIONS
from pbt.host import cache, situation, verifier
from pbt.source import Source
from tests.unit.saved import machine, work

SCRIPT = 'BEGIN { printf("%d\\n", $1); @x[comm] = count(); }'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("PBT_NO_CACHE", raising=False)
    return tmp_path / "pbt"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    made = work(SCRIPT, machine(tmp_path / "m"), "5").bundle
    assert made is not None
    return made


def arguments(*words: str) -> Arguments:
    return parse(words, OPTIONS, permute=True)


def remember(
    *words: str, text: str = SCRIPT, name: str = "stdin", params: tuple[str, ...] = ("5",)
) -> Remembered:
    return Remembered(Source(name, text), params, arguments(*words))


def test_it_is_the_same_bundle(bundle: Bundle) -> None:
    assert remember().find() is None
    remember().keep(bundle)
    assert remember().find() == bundle
    remember().forget()
    assert remember().find() is None


@pytest.mark.parametrize(
    "other",
    [
        lambda: remember(text=SCRIPT + " "), lambda: remember(name="a.bt"), lambda: remember(params=("6",)),
        lambda: remember(params=()), lambda: remember("--unsafe"), lambda: remember("-p", "7"), lambda: remember("-k"),
        lambda: remember("--no-fallback"), lambda: remember("--no-warnings"), lambda: remember("--probe-filter", "x"),
    ],
)  # fmt: skip
def test_another_script_or_option_is_another_bundle(bundle: Bundle, other: Callable[[], Remembered]) -> None:
    remember().keep(bundle)
    assert other().find() is None
    assert remember().find() == bundle


def test_how_it_runs_is_no_part_of_it(bundle: Bundle) -> None:
    remember().keep(bundle)
    assert remember("-q", "-f", "json", "-o", "/dev/null", "-c", "true", "--dry-run").find() == bundle


def test_config_variables_are_part_of_it(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    remember().keep(bundle)
    monkeypatch.setenv("BPFTRACE_MAX_STRLEN", "32")
    assert remember().find() is None
    monkeypatch.delenv("BPFTRACE_MAX_STRLEN")
    monkeypatch.setenv("SOMETHING", "else")
    assert remember().find() == bundle


def test_the_machine_is_part_of_it(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    now = situation.situation()
    remember().keep(bundle)
    for place in range(len(now)):
        changed = (*now[:place], b"other", *now[place + 1 :])
        monkeypatch.setattr(situation, "situation", lambda changed=changed: changed)
        assert remember().find() is None
    monkeypatch.setattr(situation, "situation", lambda: now)
    assert remember().find() == bundle


def test_the_judge_is_part_of_it(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    remember().keep(bundle)
    cache.write(verifier._name(), b'{"one": true}')
    assert remember().find() is None


def test_pbt_is_part_of_it(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lib" / "pbt"
    (package / "lang").mkdir(parents=True)
    file = package / "lang" / "check.py"
    file.write_text("one")
    monkeypatch.setattr(remembered, "_PACKAGE", str(package))
    remember().keep(bundle)
    assert remember().find() == bundle
    os.utime(file, ns=(1, 1))
    assert remember().find() is None
    remember().keep(bundle)
    (package / "new.py").write_text("")
    assert remember().find() is None


def test_an_installed_one_is_known_by_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lib" / "pbt"
    package.mkdir(parents=True)
    monkeypatch.setattr(remembered, "_PACKAGE", str(package))
    record = package.parent / f"pbt_bpf-{remembered.__version__}.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("")
    assert [Path(name) for name, _, _ in remembered._itself()] == [record]


def test_what_is_no_bundle_is_none(bundle: Bundle) -> None:
    kept = remember()
    kept.keep(bundle)
    whole = cache.read(kept.name)
    assert whole is not None
    key = kept._key()
    for body in (
        b"",
        b"\xff",
        whole[len(key) : -9],
        b"i\x05\x00\x00\x00",
        b")\x02[\x00\x00\x00\x00s\x00\x00\x00\x00",
    ):
        cache.write(kept.name, key + body)
        assert remember().find() is None


def test_only_plain_runs_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    for words in ((), ("-q",), ("-p", "1"), ("-f", "json"), ("-c", "true"), ("--unsafe",)):
        assert Remembered.may(arguments(*words))
    for words in (
        ("-v",),
        ("-d", "ir"),
        ("--no-verify",),
        ("--no-cache",),
        ("-I", "x"),
        ("--no-feature", "x"),
    ):
        assert not Remembered.may(arguments(*words))
    monkeypatch.setenv("BPFTRACE_BTF", "/x")
    assert not Remembered.may(arguments())


def test_scripts_with_files_do_not_last(tmp_path: Path) -> None:
    target = machine(tmp_path / "m")
    assert work(SCRIPT, target, "5").lasting
    missing = "config = { missing_probes = ignore } BEGIN {} "
    assert not work(missing + "uprobe:/no/such/file:f { @ = count(); }", target).lasting
    assert not work(missing + "usdt:/no/such/file:a:b { @ = count(); }", target).lasting

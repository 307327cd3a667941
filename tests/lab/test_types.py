"""Every type of probe in every kernel of the lab: it works, or the kernel lacks a feature for a known reason."""

from __future__ import annotations

import json

import pytest

from pbt.uapi.features import FEATURES
from tests.lab import kernels, table
from tests.lab.inside import NONE
from tests.lab.rows import MESSAGES, ROWS

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not kernels.thorough(), reason="every type of probe: PBT_LAB_KERNELS=6.1, or all"),
]

EMULATED = {"hardware": "some emulated processors have no counters"}


@pytest.mark.parametrize("row", [*ROWS, *MESSAGES], ids=lambda row: row.name)
def test_row(booted, row):
    outcome = booted.found["rows"][row.name]
    if row.name in EMULATED and not outcome["ok"]:
        assert "this machine does not count the event" in outcome["text"]
    elif NONE in outcome["text"]:
        pytest.skip(NONE)
    elif set(row.feature.split()) <= set(booted.found["features"]):
        assert outcome["ok"], outcome["text"]
    else:
        assert not outcome["ok"] and "Traceback" not in outcome["text"]


def test_no_feature_is_missing_without_a_reason(booted):
    """A kernel has what its release brought, unless kernels.LACKS says why not."""

    def number(release: str) -> list[int]:
        return [int(part) for part in release.split(".")[:2]]

    due = [name for name, row in FEATURES.items() if number(row.release) <= number(booted.found["release"])]
    known = kernels.LACKS.get(booted.kernel, {})
    assert not [name for name in due if name in booted.found["absent"] and not known.get(name)]


def test_the_page_says_what_was_found(booted, bless):
    """docs/kernels.md comes from found.json; builds of a kernel may differ in how they put a refusal."""
    if bless:
        table.save({booted.kernel: booted.found})
    known = json.loads(table.FOUND.read_text())[booted.kernel]
    found = booted.found["rows"]
    assert set(known["rows"]) == set(found) or not kernels.native(booted.kernel)
    for name, cell in known["rows"].items():
        assert name in EMULATED or (cell == "") == found[name]["ok"], name


def test_the_live_tests_of_probes_pass_here_too(booted):
    if "live" not in booted.results:
        pytest.skip("one of the kernels runs them")
    result = booted.results["live"]
    assert result.code == 0, result.stdout + result.stderr

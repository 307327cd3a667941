from __future__ import annotations

import errno
import os

import pytest

from pbt.sys import hints


def test_lockdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(hints, "_read", lambda path: "none integrity [confidentiality]")
    assert hints.hint(errno.EPERM) == "the kernel is locked down (confidentiality); see kernel_lockdown(7)"
    monkeypatch.setattr(hints, "_read", lambda path: "[none] integrity confidentiality")
    assert "security policy" in hints.hint(errno.EPERM)

"""The process of `-c`, where it cannot be."""

import os
from errno import EAGAIN

import pytest

from pbt.runtime.child import Child
from pbt.source import KernelError


def test_without_a_process_nothing_stays_open(monkeypatch):
    def refused():
        raise BlockingIOError(EAGAIN, os.strerror(EAGAIN))

    monkeypatch.setattr(os, "fork", refused)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(KernelError, match="cannot start true"):
        Child("true")
    assert len(os.listdir("/proc/self/fd")) == len(before)

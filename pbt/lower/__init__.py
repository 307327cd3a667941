"""Typed script → IR, one program at a time."""

from pbt.modules import later

later(__name__, "walk")

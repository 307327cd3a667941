"""profile:hz:99, profile:10ms: a timer on every CPU, for sampling."""

from __future__ import annotations

from pbt.feature import Provider
from pbt.probes import timer

PROFILE = Provider(
    "profile",
    "Runs every so often on each CPU, whatever runs there: `profile:hz:99`.",
    parse=lambda parts, span: timer.parse("profile", parts, span),
    expand=timer.expand,
    label=lambda place: f"profile:{place['text']}",
    describe=lambda place, target: timer.describe("profile", place),
    attach=timer.every_cpu,
    list=timer.listed,
    aliases=("p",),
    listed=False,
)

"""interval:s:1, interval:500ms: a timer on one CPU."""

from __future__ import annotations

from pbt.feature import Provider
from pbt.probes import timer

INTERVAL = Provider(
    "interval",
    "Runs every so often, on one CPU: `interval:s:1`, `interval:500ms`, `interval:hz:10`.",
    parse=lambda parts, span: timer.parse("interval", parts, span),
    expand=timer.expand,
    label=lambda place: f"interval:{place['text']}",
    describe=lambda place, target: timer.describe("interval", place),
    attach=timer.one_cpu,
    list=timer.listed,
    aliases=("i",),
    listed=False,
)

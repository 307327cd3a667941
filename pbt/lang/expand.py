"""Attach points → the places they stand for: parameters put in, wildcards expanded, contexts described."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from pbt.data import NamedTuple, dataclass
from pbt.feature import Context, Place, PlaceError, Provider, find_provider, providers
from pbt.lang import ast
from pbt.lang.renamed import successors
from pbt.regex import Regex
from pbt.source import Notice, ScriptError, ScriptWarning, Span, UsageError, caught, give, mistyped, nearest
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.host.target import Target


@dataclass(frozen=True, eq=False)
class Attached:
    """One place where a probe runs, and what its program sees there."""

    point: ast.AttachPoint
    provider: Provider
    place: Place
    context: Context

    def runs_in(self, mode: str) -> bool:
        """Whether sessions of this mode run or attach it; in those with a mode, only BEGIN and END are left."""
        return self.provider.mode == mode or (self.provider.auto and mode != "")


@dataclass(frozen=True, eq=False)
class Expanded:
    probe: ast.Probe
    places: tuple[Attached, ...]


def expand(
    script: ast.Script,
    target: Target,
    params: Sequence[str],
    config: Mapping[str, Any],
    pid: int | None = None,
    unsafe: bool = False,
    fallback: bool = True,
    mode: str = "",
    errors: list[ScriptError] | None = None,
) -> tuple[list[Expanded], list[ScriptWarning]]:
    """All probes with their places. ScriptError for what does not exist, by config missing_probes;
    one of several attach points of a probe may be missing: published scripts name what a function was
    called in one kernel after the other.

    `pid`: files are those that this process sees. `unsafe`: places that may harm the machine are allowed.
    `errors`: where mistakes go, and the probes that have them are left out; without it they are raised.
    `fallback`: where this kernel lacks a type of probe, its substitutes are taken, and said.
    `mode`: that of the session ("test", "bench"), where nothing is attached, so that anything may be missing.
    """
    _unique_names(script)
    expanded: list[Expanded] = []
    warnings: list[ScriptWarning] = []
    wrong: list[ScriptError] = []
    most, missing = int(config["max_probes"]), "ignore" if mode else str(config["missing_probes"])
    for probe in script.probes:
        before = len(wrong)
        rows: list[tuple[_Wanted, Sequence[Attached]]] = []
        taken: list[Any] = []
        for point in probe.points:
            with caught(wrong):
                wanted = _wanted(point, params, pid, unsafe, most)
                found = _present(wanted, target, taken, warnings) if fallback else wanted.at(target)
                rows.append((wanted, found))
        places = _none_missing(rows, target, missing, warnings, wrong)
        if len(wrong) == before:
            expanded.append(Expanded(probe, places))
    give(wrong, errors)
    _unique_trials(expanded)
    if script.probes:
        places = tuple(place for each in expanded for place in each.places)
        _not_too_many(len(places), most, script.probes[-1].points[0].span)
        if not wrong:
            _something_runs(places, mode, script.probes[0].points[0].span)
    return expanded, warnings


def _none_missing(
    rows: Sequence[tuple[_Wanted, Sequence[Attached]]],
    target: Target,
    missing: str,
    warnings: list[ScriptWarning],
    wrong: list[ScriptError],
) -> tuple[Attached, ...]:
    """All places of a probe, once its attach points without any are dealt with as config missing_probes says."""
    places = tuple(place for _, several in rows for place in several)
    policy = "warn" if places and missing == "error" else missing
    for wanted, several in rows:
        if not several:
            with caught(wrong):
                _missing(wanted, target, policy, warnings)
    return places


def _something_runs(places: Sequence[Attached], mode: str, span: Span) -> None:
    if mode:
        if not any(place.provider.mode == mode for place in places):
            raise ScriptError(f"No {mode} probes to run", span, f"they are written {mode}:NAME {{ ... }}")
    elif not any(place.runs_in(mode) for place in places):
        other = places[0].provider.mode if places else ""
        hint = f"--{other} runs {other} probes" if other else ""
        raise ScriptError("No probes to attach", span, hint)


def _not_too_many(total: int, most: int, span: Span) -> None:
    if total > most:
        raise ScriptError(
            f"Can't attach to {total} probes because it exceeds the current limit of {most} probes.",
            span,
            "raise it with BPFTRACE_MAX_PROBES=N; attaching to many functions slows the machine",
        )


def _unique_names(script: ast.Script) -> None:
    """No two probes may be given one name."""
    seen: dict[str, ast.AttachPoint] = {}
    for point in (point for probe in script.probes for point in probe.points):
        if point.name and seen.setdefault(point.name, point) is not point:
            raise ScriptError(f"two probes are named {point.name}", point.span)


def _unique_trials(expanded: Sequence[Expanded]) -> None:
    """Test and bench probes are told apart by their names."""
    seen: set[str] = set()
    for place in (place for each in expanded for place in each.places if place.provider.mode):
        if place.context.label in seen:
            raise ScriptError(f"there are two probes {place.context.label}", place.point.span)
        seen.add(place.context.label)


def filtered(expanded: Sequence[Expanded], pattern: str) -> list[Expanded]:
    """Of each probe the places whose names a regular expression matches somewhere; the session's own stay.

    UsageError if none are left, or for a bad expression.
    """
    if not pattern:
        return list(expanded)
    import re

    try:
        found = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"invalid regular expression {pattern}: {error}") from None
    kept = [
        Expanded(e.probe, tuple(p for p in e.places if p.provider.auto or found.search(p.context.label)))
        for e in expanded
    ]
    if not any(each.places for each in kept):
        raise UsageError(f"no probe of the script matches {pattern}")
    return kept


class _Wanted(NamedTuple):
    """An attach point as its provider reads it; it may stand for many places, or for none."""

    point: ast.AttachPoint
    provider: Provider
    place: Place
    most: int

    def at(self, target: Target) -> list[Attached]:
        """The places that exist. ScriptError where that cannot be told, or if they are more than `most`."""
        try:
            found = self.provider.expand(self.place, target)
        except PlaceError as error:
            raise ScriptError(error.message, self.point.span, error.hint) from error
        _not_too_many(len(found), self.most, self.point.span)
        return [
            Attached(self.point, self.provider, each, self.provider.describe(each, target)) for each in found
        ]


def _wanted(
    point: ast.AttachPoint, params: Sequence[str], pid: int | None, unsafe: bool, most: int
) -> _Wanted:
    parts = [_substitute(part, params) for part in point.parts]
    provider = find_provider(parts[0])
    if provider is None:
        close = nearest(parts[0].lower(), list(providers()), 1)
        raise ScriptError(
            f"Invalid probe type: {parts[0]}",
            point.span,
            f"did you mean {close[0]}?" if close else "pbt -l lists probes",
        )
    place = provider.parse(parts[1:], point.span)
    if provider.unsafe(place) and not unsafe:
        raise ScriptError(
            f"{provider.label(place)} may harm the machine", point.span, "--unsafe allows it; a name is safer"
        )
    return _Wanted(point, provider, place if pid is None else provider.of_process(place, pid), most)


def _present(
    wanted: _Wanted, target: Target, taken: list[Any], warnings: list[ScriptWarning]
) -> list[Attached]:
    """The places of an attach point, or what stands in for them on this kernel.

    Each event counts once in a probe (`taken` has those of its other attach points, and gets these). Of several places
    that a wildcard means, those that nothing stands in for are left out.
    """
    exist = wanted.at(target)
    present: list[Attached] = []
    replaced = False
    for place in [each.place for each in exist] or [wanted.place]:
        found = wanted.provider.instead(place, target)
        fresh = [s for s in found if s.event not in taken]
        taken += [s.event for s in fresh]
        present += [Attached(wanted.point, providers()[s.provider], s.place, s.context) for s in fresh]
        if fresh:
            said = _listed([s.said for s in fresh]) + _bracketed({s.differs for s in fresh} - {""})
            message = f"{wanted.provider.label(place)} is not to be had here; using {said}"
            warnings.append(Notice(message, wanted.point.span))
        replaced = replaced or bool(found)
    return present if replaced else exist


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1]


def _bracketed(texts: set[str]) -> str:
    return f" ({'; '.join(sorted(texts))})" if texts else ""


def _substitute(part: str, params: Sequence[str]) -> str:
    """Positional parameters, put in as text."""
    if "$" not in part:
        return part
    return Regex(r"\$(\d+)").sub(
        lambda m: params[int(m[1]) - 1] if 0 < int(m[1]) <= len(params) else "", part
    )


def _missing(wanted: _Wanted, target: Target, policy: str, warnings: list[ScriptWarning]) -> None:
    point, provider = wanted.point, wanted.provider
    message = f"No matches for {provider.name} {':'.join(point.parts[1:])}."
    if policy == "error":
        said = provider.absent(wanted.place, target)
        if said is not None:
            raise ScriptError(said[0], point.span, said[1])
        try:
            later = _successor(provider, point, target)
            hint = f"this kernel has {later}" if later else _suggest(provider, point, target)
        except UsageError as error:  # the place may exist, but cannot be looked up
            raise ScriptError(error.message, point.span, error.hint) from error
        raise ScriptError(message, point.span, hint, later if later.startswith(provider.name + ":") else "")
    if policy == "warn":
        warnings.append(ScriptWarning(message, point.span))


def _exists(name: str, span: Span, target: Target) -> bool:
    first, *parts = name.split(":")
    provider = find_provider(first)
    assert provider is not None
    return bool(provider.expand(provider.parse(parts, span), target))


def _successor(provider: Provider, point: ast.AttachPoint, target: Target) -> str:
    """What this kernel has in the place of a function; "" if nothing is known."""
    for name in successors(":".join(point.parts[1:])):
        later = name if ":" in name else f"{provider.name}:{name}"
        if _exists(later, point.span, target):
            return later
    return ""


def _suggest(provider: Provider, point: ast.AttachPoint, target: Target) -> str:
    go_on = "set the 'missing_probes' config variable to 'warn' to go on without it"
    return similar(provider, point.parts[1:], target) or go_on


def similar(provider: Provider, parts: Sequence[str], target: Target) -> str:
    """A hint for a place that is not there: which one may have been meant; "" if none is like it."""
    if "*" in ":".join(parts):
        return ""
    path = tuple(parts[:1]) if not provider.listed and len(parts) > 1 else ()
    if path and path[0].startswith("/") and not os.path.exists(path[0]):
        return f"there is no file {path[0]}"
    near = _near(parts[-1] if path else ":".join(parts), list(provider.list((*path, "*"), target)))
    return f"did you mean {provider.name}:{near}?" if near else ""


LIKE = 0.75  # a kernel has so many functions that something looks a little like any name


def _near(wanted: str, known: Sequence[str]) -> str:
    """The place that may have been meant, by its whole name or else by its last part; "" if none is like it."""
    parted = known if ":" in wanted else [name for name in known if ":" in name]
    lasts = {name.rpartition(":")[2]: name for name in reversed(parted)}
    for name, names in ((wanted, {name: name for name in known}), (wanted.rpartition(":")[2], lasts)):
        for close in nearest(name, names, 5, LIKE):
            if mistyped(name, close):
                return names[close]
    return ""

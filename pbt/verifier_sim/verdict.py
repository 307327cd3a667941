"""Verdict: whether the kernel would load a program, and for a refusal its place, its reason and what led there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.data import NamedTuple
from pbt.typing import TYPE_CHECKING
from pbt.verifier_sim.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbt.source import Source, Span

    Place = Callable[[int], Span | None]  # slot → where it comes from

_TOLD = 6  # branches that a story names


class Turn(NamedTuple):
    """A branch on the way to a refusal: its slot, its text, whether it jumped, its place in the script."""

    pc: int
    text: str
    jumped: bool
    start: int = -1
    end: int = -1

    def span(self, source: Source) -> Span | None:
        return _span(source, self.start, self.end)


class Fact(NamedTuple):
    """Something that was known at the refusal; pc: the instruction that made it so, with its place in the script."""

    text: str
    pc: int = -1
    start: int = -1
    end: int = -1

    def span(self, source: Source) -> Span | None:
        return _span(source, self.start, self.end)


class Refusal(NamedTuple):
    """Why a program is refused.

    pc: the slot; reason: the kernel's own words as far as they are known; words: a plain sentence;
    hint: what would mend it, perhaps empty; start, end: characters of the script, -1 if unknown;
    id: the reason's number in docs/verifier.md; way: the last branches before it, in their order;
    known: what was known of each register that the instruction uses, and of what the program holds.
    """

    pc: int
    reason: str
    words: str
    hint: str = ""
    start: int = -1
    end: int = -1
    id: str = ""
    way: tuple[Turn, ...] = ()
    known: tuple[Fact, ...] = ()

    def span(self, source: Source) -> Span | None:
        """Where the refused instruction comes from, if that is known."""
        return _span(source, self.start, self.end)


def _span(source: Source, start: int, end: int) -> Span | None:
    from pbt.source import Span

    return Span(source, start, end) if start >= 0 else None


class Verdict(NamedTuple):
    """The answer to "would the kernel load this?".

    ok: no refusal is foreseen; error: the refusal, None if ok; insns_processed: instructions walked
    over all paths; states: slot → states seen before it, if they were kept; stack_depth: bytes of
    the deepest chain of calls; unsupported: what could not be judged ("" if all was): the walk then
    ended early, and ok stays True.
    """

    ok: bool
    error: Refusal | None = None
    insns_processed: int = 0
    states: Mapping[int, Sequence[State]] = {}
    stack_depth: int = 0
    unsupported: str = ""
    name: str = ""
    log: str = ""

    @property
    def kind(self) -> str:
        """ "accept", "reject" or "unsupported"."""
        return "unsupported" if self.unsupported else "accept" if self.ok else "reject"

    def before(self, pc: int) -> str:
        """What is known before slot `pc`, a line for each distinct state: "R1=ctx() R10=fp0"."""
        from pbt.verifier_sim.draw import draw_frame

        return "\n".join(dict.fromkeys(draw_frame(state) for state in self.states.get(pc, ())))

    def covers(self, pc: int, registers: Sequence[int]) -> bool:
        """Whether the numbers in r0 to r9 fit a state seen before `pc`; pointers are not compared."""
        return any(_fits(state, registers) for state in self.states.get(pc, ()))

    def story(self, source: Source | None = None, place: Place | None = None) -> str:
        """The refusal in words, with its place in the script if `source` is given; "" if accepted.

        `place`: where instructions come from, for programs that were not made from a script.
        """
        if self.error is None:
            return f"not judged: {self.unsupported}" if self.unsupported else ""
        where = f"{self.name + ': ' if self.name else ''}instruction {self.error.pc}"
        span = place(self.error.pc) if place else self.error.span(source) if source is not None else None
        text = f"{where}: {self.error.words} (verifier: {self.error.reason})"
        if self.error.id:
            text += f" [{self.error.id}]"
        if span is None:
            told = text + (f"\nHINT: {self.error.hint}" if self.error.hint else "")
        else:
            from pbt.source import show

            told = show("ERROR", text, span, self.error.hint)
        return "\n".join((told, *self.tale(source, place)))

    def tale(self, source: Source | None = None, place: Place | None = None) -> list[str]:
        """How the program gets to the refused instruction, and what is known there, a line each."""
        if self.error is None:
            return []
        out = []
        shown = self.error.way[-_TOLD:]
        if len(self.error.way) > len(shown):
            out.append(f"  way here: after {len(self.error.way) - len(shown)} or more earlier branches")
        for turn in shown:
            way = "taken" if turn.jumped else "not taken"
            out.append(f"  way here: {turn.pc}: {turn.text}: {way}{_line(turn, source, place)}")
        out.extend(f"  known here: {fact.text}{_line(fact, source, place)}" for fact in self.error.known)
        return out


def _line(of: Turn | Fact, source: Source | None, place: Place | None) -> str:
    """The line of the script that something comes from, in brackets."""
    span = place(of.pc) if place else of.span(source) if source is not None else None
    if span is None or of.pc < 0:
        return ""
    row, _, text = span.locate()
    return f"  (line {row}: {text.strip()})"


def _fits(state: State, registers: Sequence[int]) -> bool:
    return all(
        reg.kind != "scalar" or reg.num.contains(registers[regno])
        for regno, reg in enumerate(state.frame.regs[:10])
    )

"""What this kernel can do, found out by trying, never from its release or configuration.

Each feature is tried when somebody first asks for it. An attempt is a system call or two, less work
than reading a file of remembered answers and checking that it may be trusted; and answers depend on
the capabilities of whoever asks. So they are kept as long as the process, no longer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.host.btf import Btf
    from pbt.uapi.features import Feature

BtfId = Callable[[str, str], int]
Attempt = Callable[["Feature", BtfId], bool]


class Features:
    """The running kernel's features.

    `types` gives the running kernel's own BTF, wanted only by features that attach to its functions;
    `attempt` tries one row, pbt.sys.attempt's unless said otherwise.
    """

    def __init__(
        self,
        types: Callable[[], Btf | None] = lambda: None,
        table: Mapping[str, Feature] | None = None,
        attempt: Attempt | None = None,
    ) -> None:
        self._types = types
        self._table = table
        self._attempt = attempt
        self._known: dict[str, bool] = {}

    def has(self, name: str) -> bool:
        """Whether the kernel has the feature `name` for this user; tried once."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._try(name)
        return found

    def all(self) -> frozenset[str]:
        """The names of all features that the kernel has: tries every one not yet tried."""
        return frozenset(name for name in self._rows() if self.has(name))

    def _rows(self) -> Mapping[str, Feature]:
        if self._table is None:
            from pbt.uapi.features import FEATURES

            self._table = FEATURES
        return self._table

    def _try(self, name: str) -> bool:
        rows = self._rows()
        assert name in rows, f"no row {name} in FEATURES"
        if self._attempt is None:
            from pbt.sys.attempt import attempt

            self._attempt = attempt
        return self._attempt(rows[name], self._btf_id)

    def _btf_id(self, kind: str, name: str) -> int:
        types = self._types()
        return types.find(kind, name) or 0 if types is not None else 0

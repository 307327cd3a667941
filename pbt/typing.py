"""What annotations name. At run time nobody reads them, so these are stand-ins: `typing` itself takes
longer to import than a small script takes to run.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any as Any
    from typing import ClassVar as ClassVar
    from typing import Final as Final
    from typing import Literal as Literal
    from typing import Protocol as Protocol
    from typing import TypeAlias as TypeAlias
    from typing import TypeVar as TypeVar
else:

    class _Form:
        """Takes whatever annotations do with a name."""

        def __getitem__(self, of):
            return self

        def __or__(self, other):
            return self

        __ror__ = __or__

    class Protocol:
        """A class to inherit from, of which no instance is ever made."""

        __slots__ = ()

        def __class_getitem__(cls, of):
            return cls

    def TypeVar(name, *args, **kwargs):
        return _Form()

    Any = ClassVar = Final = Literal = TypeAlias = _Form()

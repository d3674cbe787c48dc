"""What a protocol says of a session that only bytes are carried of from then on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attrs import field, frozen


class Rest(Protocol):
    """Sees what is carried, each byte once and in order, and knows when nobody waits for any.

    The views are of the relay's own memory: they are over when the call is. Nothing here may
    raise or wait, and what it keeps has a limit of its own.
    """

    def to_target(self, some: memoryview) -> None:
        """The client has sent this."""

    def to_client(self, some: memoryview) -> None:
        """The target has sent this."""

    def resting(self) -> bool:
        """Whether the session could end here, and nobody would lose more than the session."""

    def last_words(self) -> tuple[bytes, bytes]:
        """What the client is told when it ends here, and what the target is."""


@frozen(eq=False)
class Relayed:
    """See the module.

    Attributes:
        fields: beside the others of each audit event of the session; JSON types.
        rest: by which a drain ends the session early; None: it is left to end by itself.
    """

    fields: Mapping[str, object] = field(factory=dict)
    rest: Rest | None = None

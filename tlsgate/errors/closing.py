"""What becomes of a listener that no file names any more, and of a file that is edited."""

from __future__ import annotations

from attrs import define

from tlsgate.errors.base import Fault, GateError


@define(eq=False)
class ListenerClosed(GateError):
    """The port serves nobody any more; it only says so, for a while."""

    fault = Fault.CLIENT
    reason = "listener_closed"
    listener: str
    protocol: str
    web: str  #: where its clients go now, "host:port"; "": nobody has said
    in_http: bool = False  #: True: the client speaks HTTP on a port of another protocol

    def __str__(self) -> str:
        where = self.web or "the gateway's web port"
        return f"this port is closed; its clients go to {where} now"


@define(eq=False)
class FileChanged(GateError):
    """A file that was to be edited has changed meanwhile."""

    fault = Fault.OPERATOR
    reason = "file_changed"
    file: str

    def __str__(self) -> str:
        return f"{self.file} has changed meanwhile, so nothing was written; look again"

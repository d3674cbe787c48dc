"""What an agent does with requests: decide by itself, have the target reached, and cut.

1. `service.judging` decides, with the agent's own view of the cluster.
2. `service.served` dials, has the target's opening do its part, and carries.
3. When a lock, a role, a user or a label changes, everybody who is served, or about to be, is
   decided about again, in the same turn of the reactor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tlsgate.config.settings import OfferSettings, Timeouts
from tlsgate.core.offers import Answered, Asked
from tlsgate.errors import GateError
from tlsgate.interfaces import IAudit, IAuthDoor
from tlsgate.service.judging import Judge
from tlsgate.service.served import Found, Served, fields_of
from tlsgate.targets.base import Openings
from tlsgate.tunnel.dialling import Means

if TYPE_CHECKING:
    from tlsgate.net.gateway import Journal

Resolve = Callable[[str, int], Deferred[Found]]


class Requests:
    """See the module.

    Args:
        means: what the agent's connections stand on.
        judge: who decides.
        timeouts: of dials and of what is carried.
        resolve: `socket.getaddrinfo` in a thread.
        journal: gets a line for each client that was served.
        audit: where who came and went is recorded.
        settings: what the file says of a kind's target, by name; only of what is offered.
        door: how the agent asks the auth service.
        openings: what comes before the relay, by kind and protocol.
    """

    log = Logger()

    def __init__(
        self,
        means: Means,
        judge: Judge,
        timeouts: Callable[[], Timeouts],
        resolve: Resolve,
        journal: Journal,
        audit: IAudit,
        settings: Callable[[str, str], OfferSettings],
        door: IAuthDoor,
        openings: Openings,
    ) -> None:
        self.means = means
        self.judge = judge
        self.timeouts = timeouts
        self.resolve = resolve
        self.journal = journal
        self.audit = audit
        self.settings = settings
        self.door = door
        self.openings = openings
        self.served: set[Served] = set()

    def asked(self, asked: Asked, request: Any) -> None:
        """Take a request of a stream: accept it later, or refuse it."""
        try:
            case = self.judge.case(asked)
        except GateError as error:
            self.refuse(asked, request, error)
            return
        except Exception:
            # Whatever it is, nobody comes in by it, and the stream goes on (S58).
            self.log.failure("a request failed; this is a bug")
            request.refuse(Answered(reason="error", message="the agent has failed; see its log"))
            return
        served = Served(self, case, request)
        self.served.add(served)
        request.cancelled = served.cancel
        served.start()

    def refuse(self, asked: Asked, request: Any, error: GateError) -> None:
        """Tell the user why, and the log."""
        told = {**fields_of(asked), "error": str(error), "reason": error.reason}
        self.log.info("refused {user} {target}: {error}", **told)
        self.audit.emit("agent.deny", told)
        request.refuse(Answered(reason=error.reason, message=str(error)[:1024]))

    def look(self) -> None:
        """What is known has changed: end those who would not be let in any more."""
        for one in list(self.served):
            try:
                why = self.judge.stands(one.case)
            except Exception:
                # Who cannot be decided about does not stay, and those behind are looked at (S58).
                self.log.failure("a second look failed; this is a bug")
                why = "the agent has failed; see its log"
            if why:
                one.cut(why)

    def told(self) -> list[dict[str, Any]]:
        """Who is served, as JSON types."""
        return [one.told() for one in self.served]

"""One token in two hundred hands (S42), also when auth is killed while they ask.

A use of a token is bound to the key that joins by it. So whoever was cut off asks again with
the same key: at the end exactly one key has joined, and no token is lost to nobody.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from attrs import define, field

from tests.support.child import PATIENCE_SECONDS, alive, sized, until
from tests.support.cluster import ClusterCase, new_key, request
from tests.support.harness import CLIENT_SECONDS, Gate

HANDS = 200
#: Kills, each in another moment.
ROUNDS = sized(3, 100)
LIMITS = {"handshakes_per_second_per_address": 100_000, "unauthenticated_per_address": 10_000}


@define
class Hand:
    """Somebody with the token and a key of their own."""

    name: str
    key: str = field(factory=lambda: new_key()[1], repr=False)
    #: What each try gave; 0: nothing, the connection broke.
    answers: list[int] = field(factory=list)


class JoiningTests(ClusterCase):
    """One process, which is killed as a whole."""

    workers = 1

    def setUp(self) -> None:
        super().setUp()
        self.daemon = self.cluster(proxy={"workers": self.workers, "limits": LIMITS})
        self.take_up()

    def take_up(self) -> None:
        """Learn where the daemon is, and what to trust."""
        self.address = ("127.0.0.1", self.daemon.port())
        trusted = self.daemon.admin("GET", "/v1/cas")["cas"]["host"]
        self.context = ssl.create_default_context(cadata="".join(trusted))
        self.context.set_alpn_protocols(["tlsgate-join"])

    def token(self, **more: object) -> str:
        made = self.daemon.admin("POST", "/v1/tokens", {"types": ["node"], **more})
        return str(made["secret"])

    def join(self, hand: Hand, token: str) -> int:
        """Ask once; gives the status."""
        body = {"token": token, "type": "node", "name": hand.name, "tls_public_key": hand.key}
        status = 0
        try:
            raw = socket.create_connection(self.address, CLIENT_SECONDS)
            connection = self.context.wrap_socket(raw, server_hostname="gw.test")
            answer = request(connection, "POST", "/v1/join", body)
        except (OSError, http.client.HTTPException, ValueError):
            pass
        else:
            status = answer.status
            if status == 200:
                assert "BEGIN CERTIFICATE" in answer.body["certificate"]
        hand.answers.append(status)
        return status

    def all_at_once(
        self, hands: Sequence[Hand], token: str, meanwhile: Callable[[], None] | None = None
    ) -> None:
        """Let everybody ask in the same moment."""
        start = threading.Barrier(len(hands) + 1)

        def ask(hand: Hand) -> None:
            start.wait(PATIENCE_SECONDS)
            self.join(hand, token)

        threads = [threading.Thread(target=ask, args=(hand,), daemon=True) for hand in hands]
        for thread in threads:
            thread.start()
        start.wait(PATIENCE_SECONDS)
        if meanwhile is not None:
            meanwhile()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
            self.assertFalse(thread.is_alive())

    def shown(self, token: str) -> int:
        """How many uses the operator is shown."""
        name = token.partition(".")[0]
        spec = self.daemon.admin("GET", f"/v1/resources/token/{name}")["spec"]
        return int(spec["used"])

    def test_s42_one_joins(self) -> None:
        """S42: of 200 at once one joins, and may ask again; of a token for three, three."""
        for uses in (1, 3):
            token = self.token(uses=uses)
            hands = [Hand(f"node-{uses}-{number}") for number in range(HANDS)]
            self.all_at_once(hands, token)
            answers = Counter(hand.answers[0] for hand in hands)
            self.assertEqual(answers, {200: uses, 401: HANDS - uses})
            self.assertEqual(self.shown(token), uses)
            again = {self.join(hand, token) for hand in hands if hand.answers[0] == 200}
            self.assertEqual(again, {200})
            self.assertEqual(self.join(Hand("late"), token), 401)

    def test_s42_killed_in_the_middle(self) -> None:
        """S42: kill -9 while 200 ask: after all have asked again, still one has joined."""
        seen: Counter[str] = Counter()
        for number in range(ROUNDS):
            token = self.token()
            hands = [Hand(f"node-{number}-{hand}") for hand in range(HANDS)]
            # From before the first answer to well after the one that matters.
            first = random.choice((0, 0, 1, 1, 2, 5, 20))

            self.all_at_once(hands, token, partial(self.kill_after, hands, first))
            told = {hand.name for hand in hands if 200 in hand.answers}
            self.assertLessEqual(len(told), 1)
            self.come_back()
            used = self.shown(token)
            seen[f"{len(told)} told, {used} used"] += 1
            self.all_at_once(hands, token)
            joined = {hand.name for hand in hands if 200 in hand.answers}
            self.assertEqual(len(joined), 1, (seen, told))
            self.assertEqual(self.shown(token), 1)
            last = Counter(hand.answers[-1] for hand in hands)
            self.assertEqual(last, {200: 1, 401: HANDS - 1})

    def kill_after(self, hands: Sequence[Hand], answers: int) -> None:
        """End auth when so many have been answered."""
        until(lambda: sum(len(one.answers) for one in hands) >= answers, "answers")
        self.kill()

    def kill(self) -> None:
        """End auth where it stands."""
        os.kill(self.daemon.child.pid, signal.SIGKILL)

    def come_back(self) -> None:
        """Start it again on the same data."""
        self.daemon.child.wait()
        again = Gate(self.daemon.folder, self.daemon.file.read_text())
        self.addCleanup(again.stop)
        again.until_ready()
        self.daemon = again
        self.take_up()


class WorkersJoiningTests(JoiningTests):
    """Two workers: the auth process alone is killed, and the supervisor starts another."""

    workers = 2

    def auth(self) -> int | None:
        """The process that has the store open."""
        folder = str(self.daemon.data_dir / "store")
        pid = self.daemon.child.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            try:
                files = [os.path.realpath(one) for one in Path(f"/proc/{child}/fd").iterdir()]
            except OSError:
                continue
            if any(file.startswith(folder) for file in files):
                return int(child)
        return None

    def kill(self) -> None:
        found = self.auth()
        assert found is not None
        os.kill(found, signal.SIGKILL)
        self.killed = found

    def come_back(self) -> None:
        until(lambda: not alive(self.killed), "it has ended")
        until(lambda: self.auth() not in (None, self.killed), "another one has the store")

        def answers() -> bool:
            try:
                self.daemon.admin("GET", "/v1/cas", seconds=5)
            except (OSError, AssertionError, http.client.HTTPException):
                return False
            return True

        until(answers, "it answers")

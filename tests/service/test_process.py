"""Tests for `tlsgate.service.process`: what is told of listeners."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.service.doubles import fake_bound
from tlsgate.config.closing import closing
from tlsgate.config.read import read_text
from tlsgate.net.tally import Tally
from tlsgate.service import counts
from tlsgate.service.listeners import Changes
from tlsgate.service.process import told_changes, told_listeners, wanted


class ChangesTests(SynchronousTestCase):
    """Tests for `told_changes`."""

    def test_sockets_alone(self) -> None:
        """Where nothing refuses, what happened to the sockets is what happened."""
        changes = Changes(opened=("ssh",), closed=("kube", "(diag)"), kept=("web",))
        self.assertEqual(
            told_changes(changes),
            {"opened": ["ssh"], "closed": ["kube"], "replaced": [], "kept": ["web"]},
        )

    def test_closed(self) -> None:
        """A listener whose socket stays to refuse is closed all the same, once."""
        kept = Changes(kept=("web", "ssh"))
        told = told_changes(kept, (), {"ssh"})
        self.assertEqual((told["closed"], told["kept"]), (["ssh"], ["web"]))
        told = told_changes(kept, {"ssh"}, {"ssh"})
        self.assertEqual((told["closed"], told["opened"], told["kept"]), ([], [], ["web"]))
        self.assertEqual(told_changes(Changes(closed=("ssh",)), {"ssh"})["closed"], [])

    def test_moved(self) -> None:
        """One that is open elsewhere now is replaced; its old address is none that opens."""
        changes = Changes(opened=("ssh-moved",), replaced=("ssh",))
        told = told_changes(changes, (), {"ssh-moved"})
        self.assertEqual(told, {"opened": [], "closed": [], "replaced": ["ssh"], "kept": []})

    def test_back_again(self) -> None:
        """It is opened when the file names it again, on whatever socket."""
        self.assertEqual(told_changes(Changes(kept=("ssh",)), {"ssh"})["opened"], ["ssh"])
        self.assertEqual(told_changes(Changes(replaced=("ssh",)), {"ssh"})["opened"], ["ssh"])


class ListenersTests(SynchronousTestCase):
    """Tests for `wanted` and `told_listeners`."""

    def test_refusing(self) -> None:
        """A closed listener keeps its socket, and is shown with its end."""
        before = read_text("version: v2\nproxy_service: {listen_addr: '127.0.0.1:2'}\n")
        after = read_text("version: v2\n")
        after = evolve(after, closing=closing(before.listeners, (), after, 5.0))
        self.assertEqual([one.name for one in wanted(after)][:2], ["web", "ssh"])
        sockets = {"web": fake_bound(), "ssh": fake_bound()}
        told = told_listeners(after, sockets, counts.fields(Tally()))
        self.assertEqual(
            [(one["name"], one["state"], one["until"]) for one in told],
            [("web", "open", None), ("ssh", "refusing", 86405.0)],
        )

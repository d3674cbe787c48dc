"""Tests for drop-ins of agents: `registry.load_targets`, and what a file may name by them."""

from __future__ import annotations

from tests.config.test_agents import V3
from tests.targets.rig import OpeningCase
from tests.test_registry import Folder
from tlsgate import registry
from tlsgate.config.read import read_text
from tlsgate.config.settings import OfferSettings
from tlsgate.errors import BadSettings, NameTaken

#: A database's protocol that begins without a word.
TARGET = """
from twisted.plugin import IPlugin
from zope.interface import implementer
from tlsgate.interfaces import ITarget
from tlsgate.targets.plain import plain

@implementer(IPlugin, ITarget)
class Ledger:
    kind = "{kind}"
    protocol = "{protocol}"

    def begin(self, arrived{more}):
        return plain(arrived)

ledger = Ledger()
"""


def source(kind: str = "db", protocol: str = "x-ledger", more: str = "") -> str:
    """The text of a drop-in."""
    return TARGET.format(kind=kind, protocol=protocol, more=more)


class LoadTests(Folder, OpeningCase):
    """What is found in the folder of an agent."""

    def setUp(self) -> None:
        OpeningCase.setUp(self)
        Folder.setUp(self)

    def failure(self, text: str) -> str:
        """What is wrong with a drop-in."""
        file = self.write("bad.py", text)
        loaded = registry.load_targets(self.folder)
        file.unlink()
        ((owner, why),) = loaded.failed
        self.assertEqual((owner, dict(loaded.targets)), (str(file), {}))
        return why

    def test_nothing(self) -> None:
        """Most agents have no such folder."""
        for folder in (None, self.folder / "missing", self.folder):
            self.assertEqual(registry.load_targets(folder), registry.LoadedTargets({}))

    def test_found_and_used(self) -> None:
        """By kind and protocol; it begins as a built-in opening does."""
        self.write("ledger.py", source())
        self.write("other.py", "ledger = None\n")
        loaded = registry.load_targets(self.folder)
        self.assertEqual((list(loaded.targets), loaded.failed), ([("db", "x-ledger")], ()))
        (offer,) = self.offers("x-ledger", "db.internal:9000")
        loaded.targets["db", "x-ledger"].begin(self.arrived(offer))
        self.assertEqual([said[0] for said in self.serving.said], ["accept", "carry"])

    def offers(self, protocol: str, uri: str) -> tuple[OfferSettings, ...]:
        """What the file of an agent with such a database means."""
        entry = f"{{name: books, protocol: {protocol}, uri: '{uri}'}}"
        agent = read_text(f"{V3}db_service: {{databases: [{entry}]}}").agent
        assert agent is not None
        return agent.offers

    def test_what_cannot_serve(self) -> None:
        """Each fault is one sentence with its file."""
        for text, said in (
            (source(kind="node"), "has to be 'db'"),
            (source(protocol="postgres"), "has to be x-"),
            (source(more=", other"), "begin"),
            ("1 / 0", "ZeroDivisionError"),
        ):
            self.assertIn(said, self.failure(text))

    def test_two_of_a_name(self) -> None:
        """Nobody has to guess which one a client meets."""
        self.write("a.py", source())
        self.write("b.py", source())
        self.assertRaises(NameTaken, registry.load_targets, self.folder)

    def test_what_a_file_says(self) -> None:
        """A protocol that begins with x- is a drop-in's, and has a port of its own."""
        (offer,) = self.offers("x-ledger", "db.internal:9000")
        self.assertEqual((offer.protocol, offer.addresses), ("x-ledger", ("db.internal:9000",)))
        for protocol, uri in (
            ("x-ledger", "db.internal"),
            ("x-ledger", "postgres://db.internal:9000"),
            ("x-LEDGER", "db.internal:9000"),
            ("ledger", "db.internal:9000"),
        ):
            self.assertRaises(BadSettings, self.offers, protocol, uri)

"""Tests for `tlsgate.registry`: what is found, what is refused, what a reload sees.

One file, though a long one: every test writes drop-ins, and asks the same registry of them.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

import tlsgate.protocols.postgres
from tlsgate import registry
from tlsgate.core.routing import Ask, CertRule, Route, RouteTable
from tlsgate.core.sniff import Opening, Then, prefix, sniff
from tlsgate.core.wire.postgres import error_response
from tlsgate.errors import Denied, NameTaken, NoRoute, NotServed
from tlsgate.interfaces import IGateProtocol, ListenerSpec, RelayTo
from tlsgate.protocols.base import GateProtocol
from tlsgate.testing import FakeContext, connect, holder, route

#: The smallest drop-in there is.
SMALL = """
from tlsgate.protocols.base import GateProtocol

class Small(GateProtocol):
    name = "{name}"
    alpn = ({alpn})

small = Small()
"""

BUILT_IN = [
    "apps",
    "auth",
    "join",
    "kubernetes",
    "ssh",
    "tcp",
    "tunnel",
    "web",
    "postgres",
    "mysql",
    "mongodb",
    "raw",
    "webcert",
]


class Folder(SynchronousTestCase):
    """A test with a folder of drop-ins."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(mode=0o700)
        self.addCleanup(registry.load, None)  # so that no module of ours stays
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name: str, text: str) -> Path:
        """Drop a file in."""
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    def names(self) -> list[str]:
        """The drop-ins that are found now."""
        loaded = registry.load(self.folder)
        return [name for name in loaded.protocols if name not in BUILT_IN]


class FoundTests(Folder):
    """What is found, and where."""

    def test_built_in(self) -> None:
        """Without a folder there is what comes with tlsgate, and nothing is wrong with it."""
        loaded = registry.load(None)
        self.assertEqual(list(loaded.protocols), BUILT_IN)
        self.assertEqual((loaded.failed, loaded.changed), ((), ()))
        self.assertEqual(list(registry.load(self.folder / "missing").protocols), BUILT_IN)

    def test_file_and_package(self) -> None:
        """A drop-in is a file, or a folder with an __init__.py that may have more files."""
        self.write("one.py", SMALL.format(name="one", alpn=""))
        self.write("two/__init__.py", "from tlsgate.plugins.two.inner import small\n")
        self.write("two/inner.py", SMALL.format(name="two", alpn=""))
        self.write("_helper.py", "raise RuntimeError\n")
        self.write("test_one.py", "raise RuntimeError\n")
        self.write("README", "raise RuntimeError\n")
        loaded = registry.load(self.folder)
        self.assertEqual(list(loaded.protocols), [*BUILT_IN, "one", "two"])
        self.assertEqual(loaded.failed, ())

    def test_installed(self) -> None:
        """A distribution adds a protocol by a file in tlsgate/plugins on any path."""
        site = self.folder / "tlsgate" / "plugins"
        site.mkdir(parents=True)
        (site / "installed.py").write_text(SMALL.format(name="installed", alpn=""))
        import tlsgate.plugins

        tlsgate.plugins.__path__.append(str(site))
        self.addCleanup(tlsgate.plugins.__path__.remove, str(site))
        self.addCleanup(sys.modules.pop, "tlsgate.plugins.installed", None)
        self.assertEqual(list(registry.load(None).protocols), [*BUILT_IN, "installed"])

    def test_imported_instance(self) -> None:
        """An instance that a drop-in only imports is not a second one."""
        self.write(
            "one.py",
            "from tlsgate.plugins.builtin import raw\n" + SMALL.format(name="one", alpn=""),
        )
        self.assertEqual(self.names(), ["one"])


class ReloadTests(Folder):
    """What a second load sees."""

    def test_new_and_removed(self) -> None:
        """A new file counts, a removed one is gone, and comes back as what it is then."""
        self.assertEqual(self.names(), [])
        file = self.write("one.py", SMALL.format(name="one", alpn=""))
        self.assertEqual(self.names(), ["one"])
        file.unlink()
        self.assertEqual(self.names(), [])
        self.write("one.py", SMALL.format(name="other", alpn=""))
        self.assertEqual(self.names(), ["other"])

    def test_exchanged_in_a_hurry(self) -> None:
        """A new file of the same size in the same second runs as what it is."""
        for name in ("one", "two", "six"):
            file = self.write("x.py", SMALL.format(name=name, alpn=""))
            os.utime(file, (1e9, 1e9))
            self.assertEqual(self.names(), [name])
            file.unlink()
            self.assertEqual(self.names(), [])

    def test_changed(self) -> None:
        """A changed file is named, and the code that runs stays the old one."""
        file = self.write("one.py", SMALL.format(name="one", alpn=""))
        first = registry.load(self.folder).protocols["one"]
        self.write("one.py", SMALL.format(name="two", alpn=""))
        loaded = registry.load(self.folder)
        self.assertIs(loaded.protocols["one"], first)
        self.assertEqual(loaded.changed, (str(file),))
        self.write("one.py", SMALL.format(name="one", alpn=""))
        self.assertEqual(registry.load(self.folder).changed, ())

    def test_changed_inside_a_package(self) -> None:
        """So is a package of which any file has changed."""
        self.write("two/__init__.py", "from .inner import small\n")
        self.write("two/inner.py", SMALL.format(name="two", alpn=""))
        self.assertEqual(self.names(), ["two"])
        self.write("two/inner.py", SMALL.format(name="three", alpn=""))
        loaded = registry.load(self.folder)
        self.assertEqual(loaded.changed, (str(self.folder / "two" / "__init__.py"),))

    def test_mended(self) -> None:
        """A file that failed is tried again at the next load."""
        self.write("one.py", "oh no\n")
        self.assertEqual(self.names(), [])
        self.write("one.py", SMALL.format(name="one", alpn=""))
        self.assertEqual(self.names(), ["one"])


class FailedTests(Folder):
    """Files that cannot serve: each is named, and the others do."""

    def failed(self, text: str) -> str:
        """What is said of a drop-in with *text*; another one beside it is found."""
        self.write("bad.py", text)
        self.write("good.py", SMALL.format(name="good", alpn=""))
        loaded = registry.load(self.folder)
        self.assertIn("good", loaded.protocols)
        [(file, why)] = loaded.failed
        self.assertEqual(file, str(self.folder / "bad.py"))
        return why

    def test_mended(self) -> None:
        """What is mended in a file that was refused counts at the next load."""
        self.failed(SMALL.format(name="Bad", alpn=""))
        self.write("bad.py", SMALL.format(name="mended", alpn=""))
        loaded = registry.load(self.folder)
        self.assertIn("mended", loaded.protocols)
        self.assertEqual((loaded.failed, loaded.changed), ((), ()))

    def test_does_not_load(self) -> None:
        """A fault of its code is told with the line, and takes nobody else down."""
        for text, why in (
            ("\nx = 1 +\n", "line 2: SyntaxError: invalid syntax (bad.py, line 2)"),
            ("\n\nraise KeyError('x')\n", "line 3: KeyError: 'x'"),
            ("import nothing_of_the_kind\n", "line 1: ModuleNotFoundError: No module named"),
            ("raise SystemExit(3)\n", "line 1: SystemExit: 3"),
            ("x = 1\n", "holds no protocol (an object with IPlugin and IGateProtocol)"),
        ):
            self.assertEqual(self.failed(text)[: len(why)], why)

    def test_attributes(self) -> None:
        """Each attribute of the interface is looked at."""
        for line, why in (
            ("name = 'Bad'", "name 'Bad' has to be lower case letters, digits and dashes"),
            ("name = b'bad'", "name b'bad' has to be lower case letters, digits and dashes"),
            ("name = 'tls'", "name 'tls' means something else in this gate"),
            ("name = 'kube'", "name 'kube' means something else in this gate"),
            ("alpn = ['bad']", "bad.alpn has to be a tuple of different byte strings"),
            ("alpn = (b'',)", "bad.alpn has to be a tuple of different byte strings"),
            ("alpn = (b'x', b'x')", "bad.alpn has to be a tuple of different byte strings"),
            ("alpn = (b'x' * 256,)", "bad.alpn has to be a tuple of different byte strings"),
            ("client_cert = 'required'", "bad.client_cert has to be a CertRule"),
            ("stands_alone = 1", "bad.stands_alone has to be True or False"),
            ("advice = None", "bad.advice has to be a sentence"),
            ("openings = (1,)", "bad.openings has to be a tuple of Opening"),
            ("listener = 7000", "bad.listener has to be a ListenerSpec or None"),
        ):
            text = SMALL.format(name="bad", alpn="").replace("    alpn = ()\n", f"    {line}\n")
            self.assertEqual(self.failed(text)[: len(why)], why)

    def test_openings_and_listeners(self) -> None:
        """An opening belongs to its own protocol, a listener has a possible port."""

        class Foreign(GateProtocol):
            name = "foreign"
            openings = (Opening(name="x", protocol="web", match=prefix(b"x"), then=Then.TAKE),)

        class Portless(GateProtocol):
            name = "portless"
            listener = ListenerSpec(key="listeners.portless", port=0)

        class Mute(GateProtocol):
            name = "mute"
            listener = ListenerSpec(key="listeners.mute", port=1)
            stands_alone = False

        self.assertEqual(
            [
                registry.fault_of(Foreign()),
                registry.fault_of(Portless()),
                registry.fault_of(Mute()),
            ],
            [
                "opening x is web's, and stands in foreign",
                "portless.listener needs a key and a port from 1 to 65535",
                "mute.listener can only refuse, so mute.advice has to say what to do instead",
            ],
        )

    def test_half_an_interface(self) -> None:
        """An object that lacks a method is refused with the method's name."""

        @implementer(IPlugin, IGateProtocol)
        class Half(GateProtocol):
            refusal = None  # type: ignore[assignment]

        why = registry.fault_of(Half())
        assert why is not None
        self.assertIn("refusal", why)

    def test_others_could_have_written_it(self) -> None:
        """A file or folder that others may write to is not run."""
        file = self.write("one.py", SMALL.format(name="one", alpn=""))
        file.chmod(0o666)
        loaded = registry.load(self.folder)
        self.assertNotIn("one", loaded.protocols)
        [(named, why)] = loaded.failed
        self.assertEqual((named, "others may write" in why), (str(file), True))
        file.chmod(0o600)
        self.folder.chmod(0o777)
        loaded = registry.load(self.folder)
        self.assertNotIn("one", loaded.protocols)
        self.assertEqual([named for named, _ in loaded.failed], [str(self.folder)])
        self.folder.chmod(0o700)
        self.assertEqual(self.names(), ["one"])

    def test_of_another_user(self) -> None:
        """A file of another user is not run; root's are."""
        if os.geteuid() != 0:
            return  # only root can give files away
        file = self.write("one.py", SMALL.format(name="one", alpn=""))
        os.chown(file, 4321, -1)
        [(_, why)] = registry.load(self.folder).failed
        self.assertIn("belongs to user 4321", why)


class ClashTests(Folder):
    """Two that claim one thing."""

    def test_refused(self) -> None:
        """A name, a token or a listener has one owner; the load stops and names both."""
        for text, what, name in (
            (SMALL.format(name="postgres", alpn=""), "protocol", "postgres"),
            (SMALL.format(name="mine", alpn="b'h2',"), "ALPN token", "h2"),
            (
                "from tlsgate.interfaces import ListenerSpec\n"
                + SMALL.format(name="mine", alpn="")
                + "Small.listener = ListenerSpec(key='mysql_listen_addr', port=1)\n",
                "listener",
                "mysql_listen_addr",
            ),
        ):
            file = self.write("mine.py", text)
            error = self.assertRaises(NameTaken, registry.load, self.folder)
            self.assertEqual((error.what, error.name), (what, name))
            self.assertEqual(error.owners[1], str(file))
            self.assertTrue(error.owners[0].endswith("builtin.py"))
            file.unlink()
            registry.load(self.folder)

    def test_tokens_have_one_owner(self) -> None:
        """S01: no token leads to two protocols."""
        tokens = [token for one in registry.load(None).protocols.values() for token in one.alpn]
        self.assertEqual(len(tokens), len(set(tokens)))


class HonestTests(Folder):
    """The built-in PostgreSQL, copied under another name, has no private door."""

    def setUp(self) -> None:
        super().setUp()
        source = Path(tlsgate.protocols.postgres.__file__).read_text()
        self.write(
            "pgcopy.py",
            source
            + "\n\npgcopy = Postgres('pgcopy', (b'pgcopy',), "
            + "ListenerSpec(key='listeners.pgcopy', port=6543))\n",
        )
        self.loaded = registry.load(self.folder)
        self.copy = self.loaded.protocols["pgcopy"]

    def test_loads(self) -> None:
        """It is found and verified like any drop-in, beside the original."""
        self.assertEqual(self.loaded.failed, ())
        self.assertIsNot(type(self.copy), type(self.loaded.protocols["postgres"]))

    def test_listener(self) -> None:
        """Its own listener knows its openings, and answers as PostgreSQL does."""
        assert self.copy.listener is not None
        self.assertEqual(
            (self.copy.listener.key, self.copy.listener.port), ("listeners.pgcopy", 6543)
        )
        for opening, head, answer, then in (
            ("pgcopy-sslrequest", b"\0\0\0\x08\x04\xd2\x16\x2f", b"S", Then.TLS),
            ("pgcopy-gssencrequest", b"\0\0\0\x08\x04\xd2\x16\x30", b"N", Then.AGAIN),
            ("pgcopy-startup", b"\0\0\0\x09\0\x03\0\0\0", b"", Then.TAKE),
        ):
            found = sniff(head, self.copy.openings)
            assert isinstance(found, Opening)
            self.assertEqual(
                (found.name, found.protocol, found.answer, found.then),
                (opening, "pgcopy", answer, then),
            )

    def test_token(self) -> None:
        """A route by its token relays to the route's target."""
        self.assertEqual(self.copy.alpn, (b"pgcopy",))
        taken = route(protocol="pgcopy", alpn=(b"pgcopy",), target="tcp:127.0.0.1:5432")
        built = self.copy.build(FakeContext(route=taken, token=b"pgcopy", identity=holder("alice")))
        self.assertEqual(built, RelayTo(target="tcp:127.0.0.1:5432"))

    def test_refusal(self) -> None:
        """A refusal is a PostgreSQL error, with the right state."""
        self.assertEqual(
            self.copy.refusal(Denied("db", "bob", "no rule names this certificate")),
            error_response("28000", "'bob' may not use route db: no rule names this certificate"),
        )

    def test_unrouted_listener(self) -> None:
        """Its own listener without a route is refused in its own name."""
        error = self.assertRaises(NotServed, self.copy.build, FakeContext(route=route()))
        self.assertEqual(error.protocol, "pgcopy")
        self.assertEqual(self.copy.refusal(error)[:1], b"E")


class S01Tests(SynchronousTestCase):
    """S01: under each token only its own protocol is met."""

    #: What each protocol's clients send first.
    FIRST_BYTES = (
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"\0\0\0\x21\0\x03\0\0user\0alice\0database\0main\0\0",
        b"\x20\0\0\x01\x85\xa6\x3f\x20\0\0\0\x01\x21",
        b"EHLO mail.test\r\nMAIL FROM:<a@b>\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\x3a\0\0\0\x01\0\0\0\0\0\0\0\xd4\x07\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"who\n",
    )
    #: Which of them the web protocol answers under which token, by its place above.
    OWN = ((b"http/1.1", 1), (None, 1), (b"h2", 2))

    def test_s01_web_answers_http_only(self) -> None:
        """Off the diagonal the web protocol gives no page: an error, or just the end."""
        web = registry.load(None).protocols["web"]
        for token in (b"http/1.1", None, b"h2"):
            for place, first in enumerate(self.FIRST_BYTES):
                talk = connect(web, FakeContext(token=token))
                talk.send(first)
                answered = b"200 OK" in talk.received or (
                    token == b"h2" and not talk.closed and place == 2
                )
                self.assertEqual(answered, (token, place) in self.OWN, (token, first))
                self.assertNotIn(b"<html", talk.received if place != 1 else b"")

    def test_s01_one_route_a_token(self) -> None:
        """Each token chooses its own protocol's route, whatever else is offered beside it."""
        protocols = registry.load(None).protocols
        routes = tuple(self.routes(protocols.values()))
        table = RouteTable(routes)
        for one in routes:
            for token in one.alpn:
                chosen = table.choose(Ask(listener="web", alpn=(b"unknown", token)))
                self.assertEqual((chosen.route.protocol, chosen.token), (one.protocol, token))

    def routes(self, protocols: Any) -> Iterator[Route]:
        """A route for each protocol that has tokens."""
        for protocol in protocols:
            if protocol.alpn:
                yield route(
                    name=protocol.name,
                    protocol=protocol.name,
                    alpn=protocol.alpn,
                    client_cert=protocol.client_cert,
                    catch_all=protocol.name == "web",
                )


class S47Tests(SynchronousTestCase):
    """S47: `postgresql` is negotiated on PostgreSQL routes, and refused elsewhere."""

    def test_s47_token(self) -> None:
        """The token of libpq 17 is PostgreSQL's, and of no other protocol."""
        owners = [
            name
            for name, protocol in registry.load(None).protocols.items()
            if b"postgresql" in protocol.alpn
        ]
        self.assertEqual(owners, ["postgres"])

    def test_s47_not_on_the_web_route(self) -> None:
        """Without a PostgreSQL route nothing takes it; the console does not fall in."""
        web = route(name="web", protocol="web", alpn=(b"h2", b"http/1.1"), catch_all=True)
        ask = Ask(listener="web", alpn=(b"postgresql",))
        self.assertRaises(NoRoute, RouteTable((web,)).choose, ask)
        database = route(
            name="db",
            protocol="postgres",
            alpn=(b"postgresql",),
            client_cert=CertRule.REQUIRED,
            target="tcp:127.0.0.1:5432",
        )
        choice = RouteTable((database, web)).choose(ask)
        self.assertEqual((choice.route.name, choice.token), ("db", b"postgresql"))

    def test_s47_both_ways(self) -> None:
        """SSLRequest and direct TLS lead to the same route."""
        database = route(
            name="db",
            protocol="postgres",
            alpn=(b"postgresql",),
            client_cert=CertRule.REQUIRED,
            target="tcp:127.0.0.1:5432",
        )
        table = RouteTable((database,))
        for ask in (
            Ask(listener="web", opening="postgres"),  # psql 15 offers no ALPN
            Ask(listener="web", opening="postgres", alpn=(b"postgresql",)),
            Ask(listener="web", alpn=(b"postgresql",)),
        ):
            self.assertEqual(table.choose(ask).route.name, "db")

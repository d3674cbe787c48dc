"""The admin socket and tgctl's door to it, over a real UNIX socket."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.daemon import LISTENERS, RELOADED, AnsweringDaemon
from tlsgate.cli.door import Door
from tlsgate.errors import CannotListen, DaemonAway, DaemonSaid, DoorClosed, Fault, ReloadRefused
from tlsgate.service.admin import AdminService


class AdminSocketTests(TestCase):
    """Tests for `AdminService` with `Door`."""

    timeout = 20

    def setUp(self) -> None:
        # trial's own folders are too deep for the tests of short names
        folder = tempfile.TemporaryDirectory(prefix="tlsgate-")
        self.addCleanup(folder.cleanup)
        self.data_dir = Path(folder.name)
        self.daemon = AnsweringDaemon()

    def start(self, data_dir: Path | None = None) -> AdminService:
        service = AdminService(reactor, self.daemon, data_dir or self.data_dir)  # type: ignore[arg-type]
        service.startService()
        self.addCleanup(service.stopService)
        return service

    async def ask(self, method: str, path: str, data_dir: Path | None = None) -> Any:
        return await deferToThread(Door(data_dir or self.data_dir).ask, method, path, None, 10.0)

    async def test_asks(self) -> None:
        """A question goes through the socket and back; the socket is the owner's alone."""
        self.start()
        self.assertEqual(await self.ask("GET", "/v1/listeners"), LISTENERS)
        self.assertEqual(await self.ask("POST", "/v1/reload"), RELOADED)
        found = (self.data_dir / "admin.sock").stat()
        self.assertTrue(stat.S_ISSOCK(found.st_mode))
        self.assertEqual(stat.S_IMODE(found.st_mode), 0o600)
        self.assertEqual(os.listdir(self.data_dir), ["admin.sock"])

    async def test_refusal(self) -> None:
        """A refusal arrives with its reason and whose fault it is."""
        self.start()
        self.daemon.error = ReloadRefused(["workers cannot change"])
        error = await self.assertFailure(ensureDeferred(self.ask("POST", "/v1/reload")), DaemonSaid)
        self.assertEqual((error.word, error.whose), ("reload_refused", Fault.OPERATOR))

    async def test_long_path(self) -> None:
        """A data directory deeper than a socket's name may be works on both ends."""
        deep = self.data_dir / ("a" * 100) / ("b" * 100)
        deep.mkdir(parents=True)
        service = self.start(deep)
        self.assertEqual(await self.ask("GET", "/v1/listeners", deep), LISTENERS)
        await service.stopService()
        self.assertEqual(os.listdir(deep), [])

    async def test_stop_and_start(self) -> None:
        """A stopped service leaves nothing, and may be started again."""
        service = self.start()
        await service.stopService()
        self.assertEqual(os.listdir(self.data_dir), [])
        await self.assertFailure(ensureDeferred(self.ask("GET", "/v1/listeners")), DaemonAway)
        service.startService()
        self.assertEqual(await self.ask("GET", "/v1/listeners"), LISTENERS)

    async def test_no_descriptor_is_left(self) -> None:
        """Starting and stopping again and again costs nothing, on long names too."""
        deep = self.data_dir / ("a" * 120)
        deep.mkdir()
        service = self.start(deep)
        await service.stopService()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            service.startService()
            await service.stopService()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    async def test_left_behind(self) -> None:
        """The socket of a daemon that was killed is in nobody's way."""
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(self.data_dir / "admin.sock"))
        error = await self.assertFailure(
            ensureDeferred(self.ask("GET", "/v1/listeners")), DaemonAway
        )
        self.assertIn("left behind", str(error))
        self.start()
        self.assertEqual(await self.ask("GET", "/v1/listeners"), LISTENERS)

    async def test_upgrade_takes_the_name_over(self) -> None:
        """The old process answers who dialled it, and its end leaves the new one's name."""
        old = self.start()
        self.daemon.slow = True
        asked = ensureDeferred(self.ask("POST", "/v1/reload"))
        while not self.daemon.waiting:
            await deferToThread(lambda: None)
        self.daemon.slow = False
        newer = AnsweringDaemon()
        new = AdminService(reactor, newer, self.data_dir)  # type: ignore[arg-type]
        new.startService()
        self.addCleanup(new.stopService)
        await self.ask("GET", "/v1/listeners")
        self.assertEqual(newer.asked, [("listeners",)])
        self.daemon.waiting[0].callback(None)
        self.assertEqual(await asked, RELOADED)
        await old.stopService()
        await self.ask("GET", "/v1/listeners")
        self.assertEqual(len(newer.asked), 2)
        await new.stopService()
        self.assertEqual(os.listdir(self.data_dir), [])

    async def test_a_file_is_not_overwritten(self) -> None:
        """Something that is no socket stays, and the start says so."""
        (self.data_dir / "admin.sock").write_text("mine")
        service = AdminService(reactor, self.daemon, self.data_dir)  # type: ignore[arg-type]
        error = self.assertRaises(CannotListen, service.startService)
        self.assertIn("is no socket", str(error))
        self.assertEqual((self.data_dir / "admin.sock").read_text(), "mine")

    async def test_another_user(self) -> None:
        """The socket's mode keeps others out; tgctl says who may."""
        self.start()
        self.data_dir.chmod(0o755)
        if os.geteuid() == 0:  # nobody else can become somebody else
            child = await deferToThread(_as_nobody, self.data_dir)
            self.assertIn("is open to root only", child)

    async def test_another_user_with_the_socket(self) -> None:
        """Were the mode lost, the kernel's word about the peer still keeps others out."""
        self.start()
        self.data_dir.chmod(0o755)
        (self.data_dir / "admin.sock").chmod(0o666)
        if os.geteuid() == 0:
            child = await deferToThread(_as_nobody, self.data_dir)
            self.assertIn("this user may not ask", child)
        self.assertEqual(self.daemon.asked, [])


def _as_nobody(data_dir: Path) -> str:
    """What the door says to the user nobody, asked from a child process."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            os.setgid(65534)
            os.setuid(65534)
            said = repr(Door(data_dir).ask("GET", "/v1/status", None, 10.0))
        except (DoorClosed, DaemonSaid, DaemonAway) as e:
            said = str(e)
        finally:
            os.write(writable, said.encode())
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as answers:
        said = answers.read()
    os.waitpid(child, 0)
    return said

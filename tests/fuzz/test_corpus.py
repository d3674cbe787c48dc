"""What the fuzzers have found, replayed: each file holds, and each folder is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.targets import check_hello, check_openings, check_proxyline, check_sshcert
from tests.fuzz.tunnels import (
    check_connect,
    check_frames,
    check_greetings,
    check_lives,
    check_pingframes,
    check_sshmessages,
)

_CORPUS = Path(__file__).parent / "corpus"


class CorpusTests(SynchronousTestCase):
    """Every corpus through its target."""

    def _replay(self, name: str, check: Callable[[bytes], None]) -> None:
        files = sorted((_CORPUS / name).iterdir())
        self.assertGreater(len(files), 20)
        for file in files:
            with self.subTest(file.name):
                check(file.read_bytes())

    def test_hello(self) -> None:
        """Hellos: our reading agrees with OpenSSL's, at every prefix."""
        self._replay("hello", check_hello)

    def test_proxyline(self) -> None:
        """PROXY headers: what is read can be written and read again."""
        self._replay("proxyline", check_proxyline)

    def test_openings(self) -> None:
        """Openings: once told, an answer stays told."""
        self._replay("openings", check_openings)

    def test_sshcert(self) -> None:
        """OpenSSH certificates: no odd one gets through, and none raises anything else."""
        self._replay("sshcert", check_sshcert)

    def test_frames(self) -> None:
        """Frames of tunnels: the same however they are cut, and as they would be written."""
        self._replay("frames", check_frames)

    def test_greetings(self) -> None:
        """What gateway and agent say: what is read can be told, and steers no terminal."""
        self._replay("greetings", check_greetings)

    def test_connect(self) -> None:
        """CONNECT: once told, an answer stays told."""
        self._replay("connect", check_connect)

    def test_pingframes(self) -> None:
        """Ping frames: the same however they are cut."""
        self._replay("pingframes", check_pingframes)

    def test_sshmessages(self) -> None:
        """SSH messages: a value or our error, for each of them."""
        self._replay("sshmessages", check_sshmessages)

    def test_lives(self) -> None:
        """Streams of tunnels: whatever comes in whatever order, no client is served twice."""
        self._replay("lives", check_lives)

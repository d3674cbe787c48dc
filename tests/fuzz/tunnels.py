"""What must hold for any bytes at all in tunnels and SSH; as `targets`, for its part of the tree.

The first byte of *noise* often chooses how the others are cut, or what they are meant as.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from tlsgate.core.agentstream import AgentLife
from tlsgate.core.frames import Frame, FrameKind, Frames, frame, message, read_message
from tlsgate.core.gatewaystream import GatewayLife
from tlsgate.core.greetings import AgentHello, GatewayHello, read_said
from tlsgate.core.offers import Answered, Asked, Offer
from tlsgate.core.outcome import More
from tlsgate.core.pingframes import PING, Unframe
from tlsgate.core.pingframes import frame as pinged
from tlsgate.core.wire import sshmessages as ssh
from tlsgate.core.wire.connect import LIMIT, read_connect
from tlsgate.errors import BadBytes

_LARGEST = 4096

_READERS: Final[tuple[Callable[[Any], Any], ...]] = (
    *(AgentHello.read, GatewayHello.read, read_said),
    *(Offer.read, Asked.read, Answered.read),
)


def check_frames(noise: bytes) -> None:
    """Read *noise* as frames, whole and in pieces; what is read is what would be written."""
    noise, step = noise[:_LARGEST], 1 + len(noise) % 7
    whole = _frames(noise, len(noise) or 1)
    assert whole == _frames(noise, step)
    found, held = whole
    wire = b"".join(frame(one.kind, one.body) for one in found)
    assert noise.startswith(wire)
    assert held is None or held == len(noise) - len(wire)


def _frames(noise: bytes, step: int) -> tuple[list[Frame], int | None]:
    """The frames in *noise*, and what is left; None: something was refused."""
    frames, found = Frames(), list[Frame]()
    for at in range(0, len(noise), step):
        piece = noise[at : at + step]
        try:
            found += frames.feed(piece)
        except BadBytes:
            # What the same piece had before is lost in one reading, and not in the other.
            again = Frames()
            del found[:]
            for byte in noise:
                try:
                    found += again.feed(bytes((byte,)))
                except BadBytes:
                    return found, None
            raise
    return found, frames.held


def check_greetings(noise: bytes) -> None:
    """Read *noise* as the body of each message; what is read can be told and read again."""
    try:
        told = read_message(Frame(FrameKind.CONTROL, noise[:_LARGEST]))
    except BadBytes:
        return
    for read in _READERS:
        try:
            found = read(told)
        except BadBytes:
            continue
        if found is not None:
            wire = message(FrameKind.CONTROL, found.told())
            assert read(read_message(Frame(FrameKind.CONTROL, wire[4:]))) == found
            assert all(text.isprintable() or _is_plain(text) for text in _texts(found.told()))


def _texts(told: Any) -> Iterator[str]:
    if isinstance(told, str):
        yield told
    elif isinstance(told, dict):
        for key, value in told.items():
            yield from (key, *_texts(value))
    elif isinstance(told, list):
        for one in told:
            yield from _texts(one)


def _is_plain(text: str) -> bool:
    """Nothing in it is a control, whatever else cannot be printed."""
    return not any(ord(one) < 0x20 or 0x7F <= ord(one) < 0xA0 for one in text)


def check_connect(noise: bytes) -> None:
    """Read *noise* as a CONNECT, bare and behind a good first line."""
    for wire in (noise[: 2 * LIMIT], b"CONNECT " + noise[:LIMIT] + b"\r\n\r\n"):
        try:
            whole: Any = read_connect(wire)
        except BadBytes:
            whole = None
        for end in {len(wire) * step // 7 for step in range(8)}:
            try:
                part = read_connect(wire[:end])
            except BadBytes:
                assert whole is None
                continue
            if not isinstance(part, More):
                assert part == whole
        if whole is not None and not isinstance(whole, More):
            assert whole.length <= min(len(wire), LIMIT)
            assert whole.host.isascii() and whole.host.isprintable() and " " not in whole.host
            assert 0 < whole.port < 65536


def check_pingframes(noise: bytes) -> None:
    """Take the frames off *noise*, whole and in pieces; and off what was framed."""
    noise = noise[:_LARGEST]
    readers: list[tuple[bytes, int, bool] | None] = []
    for step in (len(noise) or 1, 1 + len(noise) % 5):
        reader, found = Unframe(), b""
        try:
            for at in range(0, len(noise), step):
                found += reader.feed(noise[at : at + step])
        except BadBytes:
            readers.append(None)
        else:
            readers.append((found, reader.pings, reader.whole))
    assert readers[0] == readers[1]
    reader = Unframe()
    assert reader.feed(PING + pinged(noise) + PING) == noise
    assert (reader.pings, reader.whole) == (2, True)


_MESSAGES: Final[tuple[Callable[[bytes], Any], ...]] = (
    *(ssh.read_kexinit, ssh.read_line, ssh.read_service, ssh.check_extensions),
    *(ssh.read_login, ssh.read_signature, ssh.read_open, ssh.read_direct, ssh.read_request),
    *(ssh.read_global, ssh.read_subsystem, ssh.read_data, ssh.read_adjust, ssh.read_number),
)
_OURS: Final = ssh.Offer(exchanges=(b"x",), host_keys=(b"h",), ciphers=(b"c",), macs=(b"m",))


def check_sshmessages(noise: bytes) -> None:
    """Read *noise* as each message of a client: a value, "not yet", or our error."""
    noise = noise[: 2 * _LARGEST]
    for read in _MESSAGES:
        try:
            found = read(noise)
        except BadBytes:
            continue
        if isinstance(found, ssh.KexInit):
            try:
                ssh.agree(_OURS, found)
            except BadBytes:
                continue
        elif isinstance(found, ssh.Login):
            assert found.user.isprintable() and noise.startswith(found.signed[1:])
        elif read in (ssh.read_direct, ssh.read_subsystem) and found is not None:
            assert 0 <= found[1] < 65536 and found[0].isprintable()


class _Effects:
    """What a machine asks for, remembered; any of it."""

    def __init__(self) -> None:
        self.asked_for: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: self.asked_for.append(name)


_GATEWAY: Final = ("ask", "client_end", "leave", "late", "retire", "came")
_AGENT: Final = ("accept", "refuse", "target_end", "leave", "came")
_KINDS: Final = (FrameKind.STATUS, FrameKind.END, FrameKind.RESET, FrameKind.ENDED)


def check_lives(noise: bytes) -> None:
    """Drive both sides' machines by *noise*: nothing raises, and nobody is served twice."""
    _live_gateway(noise[:256])
    _live_agent(noise[:256])


def _live_gateway(noise: bytes) -> None:
    effects = _Effects()
    life = GatewayLife(effects)
    idle = True
    for byte in noise:
        before = len(effects.asked_for)
        what = byte & 15
        if what == 0 and not idle:
            continue  # the shell asks an idle stream only
        if what == 0:
            life.ask()
        elif what < len(_GATEWAY):
            getattr(life.side, _GATEWAY[what])()
        else:
            kind = _KINDS[byte >> 4 & 3]
            life.hear(_turn(kind, life.serial - (byte >> 6 == 3), good=bool(byte & 1)))
        news = effects.asked_for[before:]
        idle = "rest" in news or (idle and what != 0)
        idle = idle and not {"die", "part"} & set(effects.asked_for)
    said = effects.asked_for
    assert said.count("die") + said.count("part") <= 1
    assert said.count("reach") <= life.serial
    ends = [at for at, name in enumerate(said) if name in ("die", "part")]
    assert "reach" not in said[ends[0] :] if ends else True


def _live_agent(noise: bytes) -> None:
    effects = _Effects()
    life = AgentLife(effects)
    for byte in noise:
        what = byte & 15
        if what < len(_AGENT):
            more = (Answered(reason="denied", message="no"),) if _AGENT[what] == "refuse" else ()
            getattr(life.side, _AGENT[what])(*more)
        elif what < 8:
            told = {"n": life.serial + 1 + (byte >> 7), "asked": _ASKED.told()}
            life.hear(Frame(FrameKind.REQUEST, json.dumps(told).encode()))
        else:
            life.hear(_turn(_KINDS[byte >> 4 & 3], life.serial - (byte >> 6 == 3), good=True))
    said = effects.asked_for
    assert said.count("die") <= 1
    assert said.count("asked") <= life.serial
    if "die" in said:
        assert "asked" not in said[said.index("die") :]


_ASKED: Final = Asked(kind="node", name="db1", user="alice")


def _turn(kind: FrameKind, serial: int, *, good: bool) -> Frame:
    serial = max(serial, 0)
    if kind is FrameKind.STATUS:
        answered = Answered() if good else Answered(reason="denied", message="no")
        told = {"n": serial, "answered": answered.told()}
        return Frame(kind, json.dumps(told).encode())
    return Frame(kind, serial.to_bytes(4, "big"))

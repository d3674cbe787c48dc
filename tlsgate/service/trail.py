"""Reading the audit trail back: a page of events between two times, from its files.

1. Files are taken oldest first, `events-<time>-….log` and then `events.log`; one whose last
   change was before the time asked for is passed over.
2. Within the first file the place where the time begins is found by halves: lines of several
   writers stand nearly, not quite, in order, so the search stops a little earlier.
3. A page ends when it is full, when enough was read, or with the files; the place where the
   next one begins is a file's inode and an offset, so a rotation between two pages is no
   matter.

Lines that are no event of ours (one that a full disk cut) are passed over.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from attrs import define, field, frozen

from tlsgate.errors import BadAsk
from tlsgate.service.audit import EVENTS_LOG, InThread

#: What one page reads at most; a rarer event than one in so much needs several pages.
PAGE_BYTES = 32 << 20
#: Longer lines are none of ours.
LINE_BYTES = 64 << 10
#: By how much lines of several writers may be out of order.
ORDER_SECONDS = 60.0

_NAME = re.compile(r"events-\d{8}T\d{6}-[\w-]+\.log\Z")
_CURSOR = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16})\Z")
_CHUNK = 64 << 10  # below this, halving costs more than reading


@frozen
class _File:
    path: Path
    inode: int
    changed: float


@define
class _Page:
    """What has been found so far."""

    since: str
    until: str
    event: str
    limit: int
    found: list[dict[str, Any]] = field(factory=list)
    left: int = PAGE_BYTES

    def fits(self, event: Mapping[str, Any]) -> bool:
        """Whether *event* is asked for."""
        if not self.since <= str(event.get("time", "")) < self.until:
            return False
        name = str(event.get("event", ""))
        if self.event.endswith("*"):
            return name.startswith(self.event[:-1])
        return not self.event or name == self.event


class Trail:
    """Reads the trail of one data directory.

    Args:
        data_dir: the data directory.
        in_thread: what reads off the reactor; `deferToThread`.
    """

    def __init__(self, data_dir: Path, in_thread: InThread) -> None:
        self._folder = (data_dir / EVENTS_LOG).parent
        self._in_thread = in_thread

    async def read(
        self, *, since: float | None, until: float | None, event: str, limit: int, after: str
    ) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        """Give a page of events, oldest first, and where the next one begins.

        Args:
            since: epoch seconds; events at or after it.
            until: epoch seconds; events before it.
            event: a name, or the beginning of one with a "*"; "" is any.
            limit: how many at most; there may be fewer and yet another page.
            after: where the last page said that this one begins; "" from the start.

        Raises:
            BadAsk: *after* is no such place.
        """
        asked = _Page(_stamp(since or 0.0), _stamp(until), event, limit)
        found, place = await self._in_thread(read_page, self._folder, asked, after, since)
        return found, place


def _stamp(seconds: float | None) -> str:
    """A time as lines have it; they compare as texts."""
    if seconds is None:
        return "~"  # after every digit
    whole = min(int(seconds), 253402300799)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{text}.{int((seconds - int(seconds)) * 1000):03d}Z"


def read_page(
    folder: Path, page: _Page, after: str, since: float | None
) -> tuple[list[dict[str, Any]], str | None]:
    """Fill *page*; may wait for the disk.

    Raises:
        BadAsk: *after* is no place.
    """
    inode, offset = None, 0
    if after:
        place = _CURSOR.match(after)
        if place is None:
            raise BadAsk("`after` is not what the last page has given")
        inode, offset = int(place[1], 16), int(place[2], 16)
    files = _files(folder)
    if inode is not None:
        known = [index for index, one in enumerate(files) if one.inode == inode]
        if not known:
            raise BadAsk("the file that `after` speaks of is gone: begin anew")
        files = files[known[0] :]
    for one in files:
        if since is not None and one.changed < since - ORDER_SECONDS and one.inode != inode:
            continue
        end = _read_file(one, page, offset if one.inode == inode else None)
        if end is not None:
            return page.found, f"{one.inode:x}-{end:x}"
    return page.found, None


def _files(folder: Path) -> list[_File]:
    """The files of the trail, oldest first; a rotation meanwhile shows one once."""
    found: dict[int, _File] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == "events.log" or _NAME.match(entry.name):
                status = entry.stat()
                found[status.st_ino] = _File(Path(entry.path), status.st_ino, status.st_mtime)
    return sorted(found.values(), key=lambda one: (one.path.name == "events.log", one.path.name))


def _read_file(one: _File, page: _Page, offset: int | None) -> int | None:
    """Read *one*; give where to go on when the page is over before the file is."""
    try:
        source = open(one.path, "rb")  # noqa: SIM115 -- closed below
    except FileNotFoundError:
        return None  # renamed since: it is rare, and the next question finds it
    with source:
        start = _begin(source, page.since) if offset is None else offset
        source.seek(start)
        for end, line in _lines(source, start):
            page.left -= end - start
            start = end
            event = _event(line)
            if event is not None and page.fits(event):
                page.found.append(event)
            if len(page.found) >= page.limit or page.left <= 0:
                return end
    return None


def _begin(source: BinaryIO, since: str) -> int:
    """An offset, at a line's begin, before every event at *since* or later."""
    if since.startswith("1970-01-01T00:00:00.000"):
        return 0
    low, high = 0, source.seek(0, os.SEEK_END)
    while high - low > _CHUNK:
        middle = (low + high) // 2
        source.seek(middle)
        source.readline(LINE_BYTES)
        event = _event(source.readline(LINE_BYTES))
        if event is not None and str(event.get("time", "")) < since:
            low = middle
        else:
            high = middle
    low = max(0, low - _CHUNK)  # lines of several writers are nearly in order
    if low:
        source.seek(low)
        low += len(source.readline(LINE_BYTES))
    return low


def _lines(source: BinaryIO, start: int) -> Iterator[tuple[int, bytes]]:
    """Each whole line from *start* on, and the offset after it."""
    while line := source.readline(LINE_BYTES):
        start += len(line)
        if line.endswith(b"\n"):
            yield start, line
        elif len(line) == LINE_BYTES:
            yield start, b""


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None

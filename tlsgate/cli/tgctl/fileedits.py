"""What a step of the migration changes in configuration files: shown, and written where asked.

1. The API says which keys of which file change; those of this host are read and shown as a
   diff with their lines, those of others in words.
2. `write` keeps a copy of the file beside it, and has the daemon take the new one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from tlsgate.cli.door import Asks
from tlsgate.config.edit import Drop, Edited, Put, edited, write
from tlsgate.errors import BadSettings

#: As for `tgctl reload`.
RELOAD_SECONDS: Final = 60.0


@frozen
class OwnFile:
    """The configuration file of the daemon that was asked, and the name of its host."""

    host: str
    path: Path


@frozen(kw_only=True)
class FileEdit:
    """What changes in one file.

    Attributes:
        host: whose file it is, by the name in its certificate.
        made: the new text; None: the file is not on this host, or not this daemon's.
    """

    host: str
    file: str
    changes: Sequence[Mapping[str, Any]] = field(repr=False)
    made: Edited | None = field(default=None, repr=False)

    @property
    def is_here(self) -> bool:
        """Whether it can be written from here."""
        return self.made is not None

    def lines(self) -> Iterator[str]:
        """The diff, or what to change in words."""
        if self.made is None:
            yield f"on the host of {self.host}, in {self.file or 'its configuration file'}:"
            for change in self.changes:
                key, value = ".".join(change["path"]), change["value"]
                words = "[" + ", ".join(value) + "]" if isinstance(value, list) else value
                yield f"  {key}: {words}" if value else f"  remove {key}"
            yield "  and there: tgctl reload"
            return
        if not self.made.changes:
            yield f"{self.file} says it already: tgctl reload"
            return
        yield f"change {', '.join(self.made.places)}:"
        yield from self.made.diff().splitlines()


def edits(files: Sequence[Mapping[str, Any]], own: OwnFile | None) -> list[FileEdit]:
    """What to change in each of *files*, as the API has said.

    Args:
        own: None: the daemon that was asked is elsewhere. Hosts like to call their files the
            same, so a file is ours where the host's name is ours too.

    Raises:
        BadSettings: our own file cannot be edited in place.
    """
    found: list[FileEdit] = []
    seen = False
    for one in files:
        host, file = str(one["host"]), str(one["file"])
        made = None
        if own is not None and not seen and (host, Path(file)) == (own.host, own.path):
            seen = True
            made = edited(_text(own.path), list(map(_edit, one["changes"])), file)
        found.append(FileEdit(host=host, file=file, changes=one["changes"], made=made))
    return found


def put_in_force(edit: FileEdit, door: Asks, *, force: bool) -> list[str]:
    """Write a file of this host, and have its daemon read it; gives sentences.

    Raises:
        FileChanged: somebody else has changed it meanwhile.
        GateError: the daemon does not take it. The file is as it was before, then, but where
            somebody else has changed it meanwhile.
    """
    assert edit.made is not None
    said = []
    file = Path(edit.file).resolve()  # a link stays one
    copy = None
    if edit.made.changes:
        copy = write(file, edit.made, time.strftime("%Y%m%d-%H%M%S"))
        said.append(f"wrote {file}; the old one is {copy}")
    try:
        query = {"force": "1"} if force else None
        door.ask("POST", "/v1/reload", query, seconds=RELOAD_SECONDS)
    except BaseException:
        if copy is not None and _text(file) == edit.made.after:
            # What is on the disk would count at the next start.
            copy.replace(file)
        raise
    return [*said, "reloaded"]


def own_file(door: Asks) -> OwnFile:
    """The file of the daemon behind *door*."""
    said = door.ask("GET", "/v1/status")
    # A daemon of an earlier version says no name: then no file is known to be its own.
    return OwnFile(str(said.get("host", "")), Path(str(said["file"])))


def _edit(change: Mapping[str, Any]) -> Put | Drop:
    path = tuple(str(word) for word in change["path"])
    value = change["value"]
    if isinstance(value, list):
        return Put(path, tuple(map(str, value)))
    return Drop(path) if value is None else Put(path, str(value))


def _text(file: Path) -> str:
    """The text of a file.

    Raises:
        BadSettings: it cannot be read.
    """
    from tlsgate.errors import Place, Problem

    try:
        return file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        why = getattr(e, "strerror", None) or "it is no text"
        raise BadSettings([Problem(Place(str(file), 1, 1), "", why)]) from e

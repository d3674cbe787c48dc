"""Files that the configuration names: where they are, and whether they are there."""

from __future__ import annotations

import os
from pathlib import Path as FilePath

from attrs import define, field

from tlsgate.config.findings import Findings
from tlsgate.config.marks import Path


@define
class Files:
    """Finds files beside the configuration file; each is looked at once."""

    folder: FilePath
    findings: Findings
    _seen: dict[FilePath, str | None] = field(factory=dict)

    def at(self, written: str) -> FilePath:
        """Where *written* is: absolute as it stands, else beside the configuration file."""
        return FilePath(os.path.normpath(self.folder / written))

    def existing(self, written: str, path: Path) -> FilePath:
        """The same, and a problem at *path* when no readable file is there."""
        file = self.at(written)
        if file not in self._seen:
            self._seen[file] = _fault(file)
        if (fault := self._seen[file]) is not None:
            shown = str(file) != written and str(file).isprintable()
            looked = f" (looked for {file})" if shown else ""
            self.findings.wrong(path, f"{written!r} {fault}{looked}")
        return file


def _fault(file: FilePath) -> str | None:
    try:
        if not file.is_file():
            return "is not a file" if file.exists() else "does not exist"
        return None if os.access(file, os.R_OK) else "cannot be read by this user"
    except OSError as e:
        return f"cannot be looked at: {e.strerror}"

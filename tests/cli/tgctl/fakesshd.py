"""An sshd that only knows its configuration, for tests of what writes it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, field


@define
class FakeSshd:
    """Stands for `subprocess.run`.

    Attributes:
        refuses: a word that no configuration may have.
        includes: whether the main file names the folder of ours.
    """

    main: Path
    pid_file: Path
    refuses: str = "nothing of it"
    includes: bool = True
    asked: list[Sequence[str]] = field(factory=list)

    def __call__(self, command: Sequence[str], **more: Any) -> subprocess.CompletedProcess[str]:
        """Answer `sshd -f MAIN -t|-T`."""
        self.asked.append(command)
        program, _flag, config, *words = command
        if not program.endswith("sshd"):
            raise FileNotFoundError(2, "No such file or directory", program)
        text = Path(config).read_text()
        if self.includes:
            for file in sorted((self.main.parent / "sshd_config.d").glob("*.conf")):
                text = file.read_text() + text
        if self.refuses in text:
            return subprocess.CompletedProcess(command, 255, "", f"bad word\n{self.refuses}\n")
        if words[0] == "-t":
            return subprocess.CompletedProcess(command, 0, "", "")
        facts = [line for line in text.splitlines() if line and not line.startswith("#")]
        lines = [
            f"pidfile {self.pid_file}",
            *(f"{line.split(' ', 1)[0].lower()} {line.split(' ', 1)[1]}" for line in facts),
        ]
        return subprocess.CompletedProcess(command, 0, "\n".join(lines) + "\n", "")

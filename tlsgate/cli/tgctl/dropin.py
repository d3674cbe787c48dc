"""The machine's sshd and our part of its configuration: text, checks, put in and taken out.

1. `Machine.facts` asks sshd itself what is in force (`sshd -T`), our part left out.
2. `text` is our part: the agent's files. Where the certificate is for a key of the agent's,
   that is named, and the machine's own before it, as sshd forgets its default keys where any
   is named.
3. `Machine.install` writes it, has sshd check the whole (`sshd -t`) and say that our words are
   in force, and puts back what was there otherwise. Then sshd is told by SIGHUP.

See sshd_config(5): of most keywords the first value counts, and Debian's main file begins
with `Include /etc/ssh/sshd_config.d/*.conf`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from tlsgate.core.wire.sshcert import key_blob
from tlsgate.errors import BadAsk, BadBytes
from tlsgate.service import sshfiles

MAIN: Final = Path("/etc/ssh/sshd_config")
FOLDER: Final = "sshd_config.d"
NAME: Final = "50-tlsgate.conf"

#: By which we know a file of ours.
MARK: Final = "# Made by `tgctl sshd install`; `tgctl sshd uninstall` takes it away."

#: sshd takes seconds for none of this; a broken one must not keep an operator.
_SECONDS: Final = 30.0
#: What a configuration of sshd takes as it is: no quotes, blanks, or percent signs.
_PLAIN = re.compile(r"/[\w./@+,:=-]*")

_KEYS: Final = tuple(Path(f"/etc/ssh/ssh_host_{kind}_key") for kind in ("rsa", "ecdsa", "ed25519"))
_OURS: Final = ("trustedusercakeys", "authorizedprincipalsfile", "authorizedprincipalscommand")

Facts = Mapping[str, Sequence[str]]


@frozen
class Done:
    """What was done.

    Attributes:
        changed: whether the file is another one than before.
        reloaded: the process that was told; None: none runs, or nothing was to be told.
    """

    changed: bool
    reloaded: int | None


@frozen(kw_only=True)
class Machine:
    """The sshd that is meant.

    Attributes:
        program: sshd itself; it wants its whole path.
        main: its main configuration.
        file: ours.
    """

    program: Path
    main: Path
    file: Path

    def facts(self) -> Facts:
        """What is in force: keyword in small letters to its values.

        Raises:
            BadAsk: sshd refuses its configuration, or is not there.
        """
        who = "user=root,host=localhost,addr=127.0.0.1"
        found: dict[str, list[str]] = {}
        for line in self._run("-T", "-C", who).splitlines():
            word, _, value = line.partition(" ")
            found.setdefault(word.lower(), []).append(value)
        return found

    def check(self) -> None:
        """Have sshd look at its configuration.

        Raises:
            BadAsk: it refuses it.
        """
        self._run("-t")

    def install(self, content: str, *, reload: bool) -> Done:
        """Put *content* into `file`; sshd checks it before it is told.

        Raises:
            BadAsk: sshd does not take it, or does not read it; what was there is back.
            OSError: it cannot be written.
        """
        before = self._before()
        if before == content:
            return Done(False, None)
        sshfiles.put(self.file, content.encode(), durable=True)
        try:
            self.check()
            self._check_in_force(content)
        except BaseException:
            self._put_back(before)
            raise
        return Done(True, self._reload() if reload else None)

    def uninstall(self, *, reload: bool) -> Done:
        """Take `file` away; the rest is checked before sshd is told.

        Raises:
            BadAsk: it is none of ours, or sshd does not take the rest; it is back.
            OSError: it cannot be removed.
        """
        before = self._before()
        if before is None:
            return Done(False, None)
        self.file.unlink()
        try:
            self.check()
        except BaseException:
            self._put_back(before)
            raise
        return Done(True, self._reload() if reload else None)

    def machine_keys(self, facts: Facts, ours: Path) -> list[Path]:
        """The host keys that the machine has without us."""
        keys = [Path(key) for key in dict.fromkeys(facts.get("hostkey", ()))]
        return [key for key in keys if key != ours / sshfiles.KEY and key.exists()]

    def names_keys(self, keys: Sequence[Path], ours: Path) -> bool:
        """Whether the certificate is for the agent's own key, and so has to be named.

        Raises:
            BadAsk: it is for a key that this sshd does not have.
        """
        certified = _blob(ours / f"{sshfiles.KEY}.pub")
        if certified is not None and any(
            _blob(key.with_name(f"{key.name}.pub")) == certified for key in keys
        ):
            return False
        if (ours / sshfiles.KEY).exists() or certified is None:
            return True
        raise BadAsk(
            f"the host certificate is for the key of {sshfiles.MACHINE_KEY}, and {self.main} names "
            "others: add `HostKey /etc/ssh/ssh_host_ed25519_key` to it"
        )

    def in_the_way(self, facts: Facts, folder: Path) -> str | None:
        """Why our words would change what the machine does already, or do nothing; or None."""
        for word in _OURS:
            for value in facts.get(word, ()):
                if value != "none" and str(folder) not in value:
                    return f"{self.main} says {word} {value} already, which ours would replace"
        if facts.get("pubkeyauthentication", ["yes"]) != ["yes"]:
            return f"{self.main} says PubkeyAuthentication no: no certificate would be taken"
        algorithms = ",".join(facts.get("casignaturealgorithms", ["ssh-ed25519"])).split(",")
        if "ssh-ed25519" not in algorithms:
            return f"{self.main} leaves ssh-ed25519 out of CASignatureAlgorithms"
        return None

    # -- steps --

    def _before(self) -> str | None:
        """What `file` has now.

        Raises:
            BadAsk: it is somebody else's.
        """
        try:
            with self.file.open("rb") as opened:
                text = opened.read(1 << 16).decode("utf-8", "replace")
        except FileNotFoundError:
            return None
        if not text.startswith(MARK):
            raise BadAsk(f"{self.file} is not of tgctl's making: name another with --file")
        return text

    def _put_back(self, before: str | None) -> None:
        if before is None:
            self.file.unlink(missing_ok=True)
        else:
            sshfiles.put(self.file, before.encode(), durable=True)

    def _check_in_force(self, content: str) -> None:
        facts = self.facts()
        for line in content.splitlines():
            word, _, value = line.partition(" ")
            if line and not line.startswith("#") and value not in facts.get(word.lower(), ()):
                raise BadAsk(
                    f"with {self.file} in place sshd still does not say {line!r}: does {self.main} "
                    f"have `Include {self.file.parent}/*.conf` before anything else?"
                )

    def _reload(self) -> int | None:
        """Tell the sshd that listens to read its files anew; give its process."""
        for name in self.facts().get("pidfile", ()):
            with suppress(OSError, ValueError):
                pid = int(Path(name).read_text()[:16])
                if Path(f"/proc/{pid}/comm").read_text().strip() == "sshd":
                    os.kill(pid, signal.SIGHUP)
                    return pid
        return None

    def _run(self, *words: str) -> str:
        command = [str(self.program), "-f", str(self.main), *words]
        try:
            done = subprocess.run(  # noqa: S603 -- the operator names sshd
                command, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BadAsk(f"{self.program} cannot be asked: {error}") from error
        if done.returncode != 0:
            said = " ".join(done.stderr.split())[:1024] or f"it ends with code {done.returncode}"
            raise BadAsk(f"sshd does not take its configuration: {said}")
        return done.stdout


def text(folder: Path, machine_keys: Sequence[Path] | None) -> str:
    """Our part of sshd's configuration.

    Args:
        folder: DATA/agent/ssh.
        machine_keys: named before ours, so that who knows them meets them as before; None:
            no key needs to be named.

    Raises:
        BadAsk: a path has characters that sshd would read as something else.
    """
    for path in (folder, *(machine_keys or ())):
        if not _PLAIN.fullmatch(str(path)):
            raise BadAsk(f"{path} has characters that mean something to sshd: use another folder")
    keys = [] if machine_keys is None else [*machine_keys, folder / sshfiles.KEY]
    principals = folder / sshfiles.PRINCIPALS
    lines = [
        MARK,
        *(f"HostKey {key}" for key in keys),
        f"HostCertificate {folder / sshfiles.CERTIFICATE}",
        f"TrustedUserCAKeys {folder / sshfiles.USER_CAS}",
    ]
    cat = shutil.which("cat", path="/usr/bin:/bin")
    if is_open(principals):
        lines.append(f"AuthorizedPrincipalsFile {principals}/%u")
    else:
        lines += [
            "# sshd would not read these files itself: folders above them are closed to the users",
            "# who log in, or are not root's alone.",
            f"AuthorizedPrincipalsCommand {cat} {principals}/%u",
            f"AuthorizedPrincipalsCommandUser {_owner(principals)}",
        ]
    return "\n".join(lines) + "\n"


def is_open(folder: Path) -> bool:
    """Whether sshd with StrictModes reads files below *folder* as the user who logs in.

    Every folder up to the root is root's, nobody else may write it, and anybody may pass.
    """
    for one in (folder, *folder.parents):
        try:
            found = one.stat()
        except FileNotFoundError:
            continue  # the agent will make it so
        except OSError:
            return False
        if found.st_uid != 0 or found.st_mode & 0o022 or not found.st_mode & 0o001:
            return False
    return True


def owned_by_others(folder: Path) -> str | None:
    """Why somebody beside root and the agent could put files of their own there; or None.

    Whom sshd trusts stands in a file below *folder*, and sshd does not look whose it is.
    """
    agent = folder.stat().st_uid
    for one in dict.fromkeys((folder, *folder.parents, *folder.resolve().parents)):
        found = one.stat()
        if found.st_uid not in (0, agent):
            return f"{one} is neither root's nor of the agent's account"
        held = one != folder and found.st_mode & stat.S_ISVTX  # who owns a file there keeps it
        group = found.st_mode & stat.S_IWGRP and found.st_gid not in (0, found.st_uid)
        if (found.st_mode & stat.S_IWOTH or group) and not held:
            return f"others may write in {one}"
    return None


def missing(folder: Path) -> list[Path]:
    """Files that the agent has not written yet."""
    names = (f"{sshfiles.KEY}.pub", sshfiles.CERTIFICATE, sshfiles.USER_CAS, sshfiles.PRINCIPALS)
    return [folder / name for name in names if not (folder / name).exists()]


def default_keys() -> list[Path]:
    """The keys that sshd takes where none is named, without asking it."""
    return [key for key in _KEYS if key.exists()]


def _blob(file: Path) -> bytes | None:
    """The key in a public file; None: there is none."""
    try:
        with file.open("rb") as opened:
            return key_blob(opened.read(4096))
    except (OSError, BadBytes):
        return None


def _owner(folder: Path) -> str:
    for one in (folder, *folder.parents):
        with suppress(FileNotFoundError, KeyError):
            return one.owner()
    return "root"

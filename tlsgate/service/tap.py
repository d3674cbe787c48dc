"""`twistd tlsgate`: the command line, and the service that it starts.

twistd's own pid file is not used unless it is asked for: a number that a killed process has
left may by now be anybody's. The claim on the data directory takes its place.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from attrs import evolve
from twisted.application.service import IService, MultiService
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.components import Componentized

from tlsgate.config.settings import Settings
from tlsgate.errors import BadSettings, GateError, Problem
from tlsgate.service.logs import Observer
from tlsgate.service.reload import Source
from tlsgate.service.spawn import Command, Heritage
from tlsgate.service.tree import Daemon
from tlsgate.service.worker import Worker

#: What twistd writes when nobody says otherwise; ours is in the data directory.
_TWISTD_PID = "twistd.pid"
#: The exit code for what an operator has to correct.
_OPERATOR = 2


class Options(usage.Options):
    """The arguments of `twistd tlsgate`."""

    synopsis = "[options]"
    longdesc = "Runs a tlsgate gateway from a configuration file."

    optParameters: ClassVar[Any] = [
        ["config", "c", "/etc/tlsgate/tlsgate.yaml", "The configuration file."],
        ["data-dir", None, None, "Takes the place of teleport.data_dir."],
    ]
    optFlags: ClassVar[Any] = [
        ["check", None, "Say what is wrong with the file, and start nothing."],
    ]

    def postOptions(self) -> None:
        """Read the file, before twistd looks for a pid file or forks (Twisted calls this)."""
        given = self["data-dir"]
        data_dir = None if given is None else Path(os.path.abspath(given))
        self.source = Source(Path(os.path.abspath(self["config"])), data_dir)
        self.heritage = Heritage.take()
        if self.parent is not None and self.parent.get("pidfile") == _TWISTD_PID:
            self.parent["pidfile"] = ""
        if self.heritage is not None and self.heritage.role == "worker":
            return  # its supervisor tells it what to serve
        try:
            self.text, self.settings = self.source.load()
            if self["check"]:
                self._check(self.settings)
        except GateError as error:
            fail(error, self.heritage)

    def _check(self, settings: Settings) -> None:
        """Build what a start would build; ends the process.

        Raises:
            GateError: it cannot be built.
        """
        from tlsgate.service.local import build

        with tempfile.TemporaryDirectory() as folder:
            # Without key pairs a start makes one; that is not for a check to keep.
            built = build(
                settings if settings.keypairs else evolve(settings, data_dir=Path(folder))
            )
        for warning in (*map(str, settings.warnings), *built.remarks):
            sys.stderr.write(f"warning: {warning}\n")
        sys.stdout.write(f"{self.source.file} is fine\n")
        raise SystemExit(0)


def fail(error: GateError, heritage: Heritage | None) -> None:
    """Say why there is no daemon, to people and to a parent of ours, and end."""
    problems: tuple[Problem, ...] = ()
    if isinstance(error, BadSettings):
        problems = tuple(error.problems)
    lines = [str(problem) for problem in problems] or [f"tlsgate: {error}"]
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    if heritage is not None:
        from tlsgate.service.worker import tell_failure

        tell_failure(heritage.channel, error)
    raise SystemExit(_OPERATOR)


def makeService(options: Options) -> IService:
    """Make the service of *options* (Twisted calls this)."""
    from twisted.internet import reactor, threads

    from tlsgate.service import start

    keep_time(reactor)
    background = options.parent is not None and not options.parent.get("nodaemon")
    base = {
        "reactor": reactor,
        "source": options.source,
        "in_thread": threads.deferToThread,
        "leave": leave,
    }
    heritage = options.heritage
    service: Daemon | Worker
    try:
        if heritage is not None and heritage.role == "worker":
            service, log = start.worker(heritage, **base)
        else:
            service, log = start.daemon(
                text=options.text,
                settings=options.settings,
                heritage=heritage,
                command=Command.ours(options.source.file, options.source.data_dir),
                background=background,
                **base,
            )
    except GateError as error:
        fail(error, heritage)
        raise AssertionError("fail does not return") from error
    listen_for_signals(reactor, service)
    observer = None if _logs_itself(options) else Observer(log)
    return Root(service, observer)


def keep_time(reactor: Any) -> None:
    """Have timers count the time that has passed.

    Twisted's own follow the wall clock: one that is set back by an hour would hold up every
    timeout, ping and report for an hour (R16).
    """
    reactor.seconds = time.monotonic


def _logs_itself(options: Options) -> bool:
    """True when somebody has told twistd where to log."""
    parent = options.parent
    return parent is not None and any(parent.get(key) for key in ("logfile", "syslog", "logger"))


class Root(MultiService):
    """The service that twistd runs; it gives twistd our log observer."""

    def __init__(self, service: IService, observer: ILogObserver | None) -> None:
        super().__init__()
        self._observer = observer
        service.setServiceParent(self)

    def setServiceParent(self, parent: Any) -> None:
        """Twisted calls this with the application, whose component the observer is."""
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)


def listen_for_signals(reactor: Any, service: Daemon | Worker) -> None:
    """Have signals reach *service*, in the reactor's thread."""

    def on(number: int, call: Callable[[], None]) -> None:
        signal.signal(number, lambda *_: reactor.callFromThread(call))

    if isinstance(service, Daemon):
        # Their default is death, so they are caught before anybody can send one.
        on(signal.SIGHUP, service.hang_up)
        on(signal.SIGUSR2, service.user_signal)
    else:
        # They may be sent to the whole group; the supervisor tells its workers.
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)

    def when_running() -> None:
        # The reactor has just installed its own, which would not wait for a drain to end.
        on(signal.SIGTERM, service.terminate)
        if isinstance(service, Daemon):
            on(signal.SIGINT, service.terminate)

    reactor.callWhenRunning(reactor.callLater, 0, when_running)


_code = 0


def leave(code: int) -> None:
    """Let the process end with *code*; twistd itself only knows 0 and 1."""
    global _code
    if not _code:
        atexit.register(_exit)
    _code = code


def _exit() -> None:
    """Run what else runs at the end, and end with our code."""
    atexit.unregister(_exit)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(_code)

"""The command line of `twistd tlsgate`."""

from __future__ import annotations

import gc
import io
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.application.service import Application, IServiceMaker, Service
from twisted.logger import ILogObserver
from twisted.plugin import IPlugin
from twisted.python.usage import Options as UsageOptions
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tlsgate.service import tap
from tlsgate.service.tap import Options, Root

TEXT = "version: v2\nproxy_service: {web_listen_addr: '127.0.0.1:0', public_addr: [gw.test]}\n"


class Twistd(UsageOptions):
    """As much of twistd's own options as ours touch."""

    optParameters = [["pidfile", None, "twistd.pid", ""]]  # noqa: RUF012 -- Twisted's way


class TimeTests(SynchronousTestCase):
    """Tests for `keep_time`."""

    def test_r16_a_clock_that_is_set_back(self) -> None:
        """R16: timers are due when their time has passed, whatever the wall clock says."""
        reactor = SimpleNamespace(seconds=time.time)
        tap.keep_time(reactor)
        before = reactor.seconds()
        self.patch(time, "time", lambda: 0.0)
        self.assertTrue(before <= reactor.seconds() < before + 60)


class OptionsTests(SynchronousTestCase):
    """Tests for `Options`."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = self.folder / "tlsgate.yaml"
        self.file.write_text(TEXT)
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def parse(self, *arguments: str, pidfile: str = "twistd.pid") -> Options:
        """The options of such a command line."""
        options = Options()
        options.parent = Twistd()
        options.parent["pidfile"] = pidfile
        options.parseOptions([*arguments, "--data-dir", str(self.folder / "data")])
        return options

    def test_file_and_folder(self) -> None:
        """`-c` and `--data-dir` are read, with whole paths, before anything is started."""
        options = self.parse("-c", os.path.relpath(self.file))
        self.assertEqual(options.source.file, self.file)
        self.assertEqual(options.settings.data_dir, self.folder / "data")
        self.assertEqual(options.text, TEXT)

    def test_twistd_writes_no_pid_file(self) -> None:
        """Unless somebody has asked for one."""
        for given, kept in (("twistd.pid", ""), ("/run/x.pid", "/run/x.pid")):
            options = self.parse("-c", str(self.file), pidfile=given)
            assert options.parent is not None
            self.assertEqual(options.parent["pidfile"], kept)

    def test_problems(self) -> None:
        """Each problem is a line with its place, and the exit code is 2."""
        self.file.write_text("version: v9\nnonsense: 1\n")
        error = self.assertRaises(SystemExit, self.parse, "-c", str(self.file))
        self.assertEqual(error.code, 2)
        lines = self.err.getvalue().splitlines()
        self.assertEqual(len(lines), 2)
        for line in lines:
            self.assertTrue(line.startswith(f"{self.file}:"), line)

    def test_check(self) -> None:
        """`--check` builds everything, says that it is fine, and ends with 0."""
        error = self.assertRaises(SystemExit, self.parse, "-c", str(self.file), "--check")
        self.assertEqual(error.code, 0)
        self.assertEqual(self.out.getvalue(), f"{self.file} is fine\n")
        self.assertEqual(os.listdir(self.folder), ["tlsgate.yaml"])


class RootTests(SynchronousTestCase):
    """Tests for `Root`."""

    def test_gives_twistd_our_observer(self) -> None:
        """The application's log observer is ours; without one twistd's own stays."""
        observer: Any = object()
        service: Any = Service()
        application: Any = Application("tlsgate")
        Root(service, observer).setServiceParent(application)
        self.assertEqual(application.getComponent(ILogObserver), observer)
        other: Any = Application("tlsgate")
        other_service: Any = Service()
        Root(other_service, None).setServiceParent(other)
        self.assertIsNone(other.getComponent(ILogObserver, None))


class PluginTests(SynchronousTestCase):
    """The file that twistd finds us by."""

    def test_names_only(self) -> None:
        """It is a service maker, and what it names is there."""
        from twisted.plugins import tlsgate_plugin

        self.addCleanup(gc.enable)  # what is named holds the collector until a service is made
        maker = tlsgate_plugin.tlsgate
        verifyObject(IServiceMaker, maker)
        verifyObject(IPlugin, maker)
        self.assertEqual((maker.tapname, maker.options), ("tlsgate", Options))
        self.assertTrue(callable(maker.makeService))

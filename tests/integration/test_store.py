"""The SQLite store against power switches, full disks, flipped bits and second openers."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from tests.store.child import NEXT
from tests.store.pump import Pump
from tests.support.child import Child, program, sized, temporary, until
from tests.support.harness import ROOT
from tlsgate.core.keeping import Put
from tlsgate.errors import StoreFailed
from tlsgate.store.backup import inspect, restore
from tlsgate.store.schema import MIGRATIONS
from tlsgate.store.sqlite import SqliteStore

#: Where `SqliteStore` says that it is; a round dies at one of these or at any time.
PLACES = ("begun", "applied", "committed", "marked", "answered")

#: A store that was killed is open again within this.
START_SECONDS = 2.0


@define
class Acknowledged:
    """What a child has said before it died."""

    tokens: set[str] = field(factory=set)
    certificates: set[str] = field(factory=set)

    def hear(self, text: str) -> None:
        """Take up what is in a child's output; a last line without its end was not said."""
        for line in text.splitlines(keepends=True):
            kind, _, name = line.strip().partition(" ")
            if line.endswith("\n") and kind in ("token", "certificate"):
                (self.tokens if kind == "token" else self.certificates).add(name)

    def wrong(self, store: SqliteStore) -> list[str]:
        """What of it is not in *store*, or there by half."""
        pump = Pump()
        there = set()
        after = ""
        while page := pump.run(store.scan("", after)):
            there |= {item.key for item in page}
            after = page[-1].key
        found = []
        names = {key.split("/")[1] for key in there} | self.tokens | self.certificates
        for name in names:
            token = f"tokens/{name}" in there
            parts = [f"certificates/{name}/{part}" in there for part in ("tls", "ssh")]
            if parts[0] != parts[1] or (token and parts[0]):
                found.append(f"{name} is there by half")
            if name in self.certificates and not all(parts):
                found.append(f"the certificate {name} is lost")
            if name in self.tokens and not token and not all(parts):
                found.append(f"the token {name} is lost")
        return found


class StoreCase(SynchronousTestCase):
    """A folder for a store, and children that have it."""

    def setUp(self) -> None:
        self.folder = temporary("store")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.count = itertools.count()

    def child(self, *arguments: str | Path, before: tuple[str | Path, ...] = ()) -> Child:
        """Start `tests.store.child`, after the words of another program."""
        log = self.folder / f"child{next(self.count)}.log"
        words = (*before, sys.executable, "-m", "tests.store.child", *arguments)
        child = Child(words, log, cwd=ROOT)
        self.addCleanup(child.end)
        return child


class KilledTests(StoreCase):
    """kill -9 at any time."""

    def test_d01_nothing_acknowledged_is_lost(self) -> None:
        """After each kill all that was acknowledged is there, and nothing by half."""
        chance = random.Random(1)
        rounds, slowest, said = sized(20, 500), 0.0, 0
        store = self.folder / "none"
        for number in range(rounds):
            if number % 20 == 0:
                shutil.rmtree(store, True)
                store, known = self.folder / f"store{number}", Acknowledged()
            die: list[str] = []
            if number % 2:
                die = ["--die", chance.choice(PLACES), str(chance.randint(1, 400))]
            child = self.child(store, str(number), "8", *die)
            if not die:
                child.until(lambda child=child: "ready" in child.text(), "it is open")  # type: ignore[misc]
                end = time.monotonic() + chance.uniform(0, 0.4)
                until(lambda end=end: time.monotonic() > end, "its time has come")  # type: ignore[misc]
                child.send(signal.SIGKILL)
            self.assertEqual(child.wait(), -signal.SIGKILL, child.tail())
            known.hear(child.text())
            began = time.monotonic()
            opened = SqliteStore(store)
            slowest = max(slowest, time.monotonic() - began)
            self.assertEqual(known.wrong(opened), [], f"round {number}, {die}")
            opened.stop()
            with contextlib.closing(sqlite3.connect(store / "store.db")) as database:
                found = database.execute("PRAGMA integrity_check").fetchall()
            self.assertEqual(found, [("ok",)])
            said += len(child.text().splitlines())
        self.assertGreater(said, rounds * 50)
        self.assertLess(slowest, START_SECONDS)

    def test_d07_killed_at_each_statement(self) -> None:
        """A migration that dies anywhere is done, or begun again, by the next start."""
        for start in (0, len(MIGRATIONS)):
            steps = [*MIGRATIONS, NEXT]
            places = [
                f"migrate {step} {at}"
                for step in range(start, len(steps))
                for at in [*range(len(steps[step])), "commit", "done"]
            ]
            for number, place in enumerate(places):
                store = self.folder / f"{start}.{number}"
                if start:
                    old = SqliteStore(store)
                    for key in "abc":
                        Pump().run(old.commit([Put(key, key.encode())]))
                    old.stop()
                arguments = (store, "1", "0", "--migrations", str(len(steps)))
                dying = self.child(*arguments, "--die", place, "1")
                self.assertEqual(dying.wait(), -signal.SIGKILL, dying.tail())
                again = self.child(*arguments)
                self.assertEqual(again.wait(), 0, again.tail())
                with contextlib.closing(sqlite3.connect(store / "store.db")) as database:
                    copies = database.execute("SELECT count(*) FROM copies").fetchall()
                    versions = database.execute("SELECT version FROM schema").fetchall()
                self.assertEqual(versions, [(len(steps),)], place)
                self.assertEqual(copies, [(3 if start else 0,)], place)
                # And what is older than the tables says so, and changes nothing.
                error = self.assertRaises(StoreFailed, SqliteStore, store)
                self.assertIn("written by a newer tlsgate (schema 2, this one knows 1)", str(error))

    def test_d06_one_process_at_a_time(self) -> None:
        """A second opener is refused by name; after a kill the next one gets in at once."""
        store = self.folder / "store"
        first = self.child(store, "1", "1")
        first.until(lambda: "token" in first.text(), "it writes")
        second = self.child(store, "2", "1")
        self.assertEqual(second.wait(), 1)
        self.assertIn(f"in use by another process ({first.pid}): one process", second.text())
        first.send(signal.SIGKILL)
        first.wait()
        SqliteStore(store).stop()


class OrderTests(StoreCase):
    """What reaches the disk before what."""

    def test_d02_synced_before_it_is_acknowledged(self) -> None:
        """Between what a commit writes and its answer an fdatasync of the log returns."""
        trace = self.folder / "trace"
        calls = "trace=fdatasync,fsync,pwrite64,write"
        strace = (program("strace", "strace"), "-f", "-y", "-qq", "-e", calls, "-o", trace)
        child = self.child(self.folder / "store", "1", "1", before=strace)
        child.until(lambda: "certificate 1.0.30\n" in child.text(), "it has written")
        child.stop(signal.SIGKILL)
        synced, written, acknowledged = True, 0, 0
        for call in _finished(trace.read_text("utf-8", "replace")):
            if "store.db-wal>" in call:
                if call.startswith("pwrite64"):
                    synced, written = False, written + 1
                elif re.search(r"\) += 0$", call):
                    synced = True
            elif re.search(r'^write\(1<.*"(token|certificate) ', call):
                self.assertTrue(synced, f"acknowledged before its fdatasync: {call}")
                self.assertGreater(written, 0, f"acknowledged, and nothing was written: {call}")
                written, acknowledged = 0, acknowledged + 1
        self.assertGreater(acknowledged, 60)


def _finished(trace: str) -> Iterator[str]:
    """The calls of a trace of several threads, in the order in which they returned."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        pid, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[pid] = call.removesuffix("<unfinished ...>").rstrip()
        elif (resumed := re.match(r"<\.\.\. \w+ resumed>", call)) is not None:
            yield begun.pop(pid, "") + call[resumed.end() :]
        elif call:
            yield call


class FullDiskTests(StoreCase):
    """A disk of 2 MiB."""

    def test_d04_full_disk(self) -> None:
        """Nothing is half done or lost, locks are always taken, and it ends without a restart."""
        root = [] if os.getuid() == 0 else ["--map-root-user"]
        disk = self.folder / "disk"
        disk.mkdir()
        done = subprocess.run(
            [
                program("unshare", "util-linux"),
                "--mount",
                *root,
                sys.executable,
                "-m",
                "tests.store.full",
                disk,
            ],
            cwd=ROOT,
            capture_output=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        said = json.loads(done.stdout)
        full = (
            f"the store failed: {disk}/store: the disk is full: "
            "free some space; nothing was changed"
        )
        for fact, value in said.items():
            if "right" in fact or fact == "expired is gone":
                self.assertIs(value, True, fact)
            elif "locks" in fact or fact.startswith("freed"):
                self.assertIn(value, ([], ""), fact)
        self.assertEqual(said["by itself"], [full])
        self.assertEqual(set(said["filled"]), {full})
        self.assertEqual([said["put"], said["put again"]], [full, full])
        self.assertIn("no backup was made", said["backup"])
        self.assertEqual(said["left"], ["filler", "store"])


class DamageTests(StoreCase):
    """Bits that flip while nobody looks."""

    def killed_copy(self, name: str, *, log: bool) -> Path:
        """A store as a killed process leaves it: most of it in the log, or in the database."""
        store = SqliteStore(self.folder / f"{name}.live")
        pump = Pump()
        for number in range(60):
            pump.run(store.commit([Put(f"users/{number}", b"%d" % number * 40)]))
        if not log:
            store.stop()
        shutil.copytree(self.folder / f"{name}.live", self.folder / name)
        store.stop()
        return self.folder / name

    def flip(self, name: str, file: str, *, log: bool) -> tuple[int, int]:
        """Flip one bit in many places; gives how often it was found, and how often harmless."""
        whole = self.killed_copy(name, log=log)
        good = (whole / file).read_bytes()
        chance = random.Random(2)
        found = harmless = 0
        wanted = [(f"users/{n}", b"%d" % n * 40) for n in range(60)]
        for number in range(sized(150, 3000)):
            place = self.folder / "flipped"
            shutil.copytree(whole, place)
            at = chance.randrange(len(good))
            bad = bytearray(good)
            bad[at] ^= 1 << chance.randrange(8)
            (place / file).write_bytes(bad)
            try:
                store = SqliteStore(place, now=lambda: 1e9)
            except StoreFailed as e:
                found += 1
                self.assertIn("damaged", str(e))
                self.assertIn("store.db.damaged-20010909T014640Z", str(e))
                aside = place / "store.db.damaged-20010909T014640Z"
                self.assertTrue(aside.exists(), f"{number}: nothing was set aside")
                # It stays so: the next start does not begin with nothing.
                again = self.assertRaises(StoreFailed, SqliteStore, place)
                self.assertEqual(str(again).rstrip(), str(e))
            else:
                harmless += 1
                items = Pump().run(store.scan(""))
                there = [(item.key, item.value) for item in items]
                self.assertEqual(there, sorted(wanted), f"bit at {at} was accepted")
                store.stop()
            shutil.rmtree(place)
        return found, harmless

    def test_d08_flipped_in_the_database(self) -> None:
        """A flipped bit is found and named, or is where nothing is kept."""
        found, _ = self.flip("database", "store.db", log=False)
        self.assertGreater(found, 10)

    def test_d08_flipped_in_the_log(self) -> None:
        """SQLite takes a damaged log for a short one; the mark knows better."""
        found, _ = self.flip("log", "store.db-wal", log=True)
        self.assertGreater(found, 50)

    def test_d08_flipped_mark(self) -> None:
        """The mark itself is held against its checksum."""
        found, harmless = self.flip("mark", "mark", log=True)
        self.assertEqual(harmless, 0)
        self.assertGreater(found, 0)


class BackupTests(StoreCase):
    """Copies of a store in use."""

    def test_d07_backup_under_load(self) -> None:
        """A copy made while others commit has each commit up to its mark, and restores."""
        pump = Pump()
        store = SqliteStore(self.folder / "store", from_thread=pump.put)
        revisions: dict[str, int] = {}
        stopped = False

        async def write(label: int) -> None:
            for number in itertools.count():
                if stopped:
                    return
                key = f"users/{label}.{number}"
                body = key.encode() * 50
                revisions[key] = await store.commit([Put(f"{key}/a", body), Put(f"{key}/b", body)])

        writers = [pump.start(write(label)) for label in range(16)]
        pump.until(lambda: len(revisions) > 3000)
        before = max(revisions.values())
        path = self.folder / "copy"
        made = pump.run(store.backup(path))
        after = max(revisions.values())
        pump.until(lambda: max(revisions.values()) > after + 100)
        stopped = True
        pump.until(lambda: all(writers))
        store.stop()
        self.assertGreaterEqual(made.revision, before)
        self.assertGreater(after, before, "nobody committed while the copy was made")
        self.assertEqual(inspect(path), made)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        restore(self.folder / "new", path)
        again = SqliteStore(self.folder / "new")
        for key, revision in revisions.items():
            for part in "ab":
                item = pump.run(again.get(f"{key}/{part}"))
                self.assertEqual(item is not None, revision <= made.revision, key)
        again.stop()

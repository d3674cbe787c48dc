"""Tests for what the bench computes and prints; its timings are nobody's test."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import ClassVar

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.bench import __main__ as bench
from tests.bench import figures, gateways, machine
from tests.bench.cases import CASES, GIB, Answer, Case
from tests.bench.children import BenchError, Child
from tests.bench.figures import Row, Sample, Section
from tlsgate.config.read import read_file

#: An answer of the load generator: 2 s, 1 GiB down, half of the time idle.
ANSWER: Answer = {
    "failures": 0,
    "failure": "",
    "wall": 2.0,
    "cpu": 1.5,
    "idle": 1.0,
    "count": 3000,
    "bytes": int(GIB),
    "sent": int(GIB),
    "received": 2 * int(GIB),
    "lines": 3000,
}


def case(name: str) -> Case:
    """The case of that name."""
    return next(each for each in CASES if each.name == name)


def sample(value: float, **others: float) -> Sample:
    """A run without anything remarkable but its value."""
    given = {"rate": 100.0, "gateway_busy": 0.99, "load_busy": 0.6, "others_busy": 0.01, **others}
    return Sample(
        value=value,
        rate=given["rate"],
        gateway_busy=given["gateway_busy"],
        load_busy=given["load_busy"],
        others_busy=given["others_busy"],
    )


class SampleTests(SynchronousTestCase):
    """Tests for `Case.sample`."""

    def test_each_case_in_its_unit(self) -> None:
        """CPU seconds are divided by what the case counts, in the unit its line names."""
        values = {each.name: each.sample(ANSWER).value for each in CASES if each.name != "memory"}
        self.assertEqual(
            values,
            {
                "down": 1.5,
                "up": 0.75,
                "connect": 0.5,
                "roundtrip": 500.0,
                "pass1": 1.5,
                "pass500": 1.5,
            },
        )

    def test_shares(self) -> None:
        """Rate and shares are those of the measured seconds."""
        self.assertEqual(
            case("down").sample(ANSWER, others_busy=0.25, lines=7),
            Sample(
                value=1.5,
                rate=512.0,
                gateway_busy=0.75,
                load_busy=0.5,
                others_busy=0.25,
                lines=7,
            ),
        )

    def test_nothing_moved(self) -> None:
        """A run in which nothing moved is no cheap run."""
        with self.assertRaises(ValueError):
            case("down").sample({**ANSWER, "sent": 0})


class RowTests(SynchronousTestCase):
    """Tests for `figures.row` and what it is made of."""

    def test_neighbours(self) -> None:
        """A run is compared with its neighbour, so that a drift of the machine cancels."""
        self.assertEqual(figures.ratios([1.0, 2.0, 4.0], [0.5, 1.0, 2.0]), (0.5, 0.5, 0.5))

    def test_row(self) -> None:
        """Median, ratio, spread and the ratio of the bests come from all runs."""
        row = figures.row(
            "tlsgate",
            [sample(0.5), sample(0.75), sample(0.375)],
            [sample(1.0), sample(1.0), sample(0.5)],
            goals=(0.77, 0.70),
        )
        self.assertEqual(
            row,
            Row(
                gateway="tlsgate",
                value=0.5,
                ratio=0.75,
                spread=(0.5, 0.75),
                best=0.75,
                verdict="reached",
                rate=100.0,
                gateway_busy=0.99,
                load_busy=0.6,
                others_busy=0.01,
                values=(0.5, 0.75, 0.375),
            ),
        )

    def test_reference(self) -> None:
        """The reference is compared with nothing."""
        row = figures.row("haproxy", [sample(1.0)], None, goals=(0.77, 0.70))
        self.assertEqual((row.ratio, row.spread, row.best, row.verdict), (None, None, None, ""))

    def test_failed(self) -> None:
        """A gateway that measured nothing has a row that says why."""
        row = figures.row("peer", [], [sample(1.0)], remarks=("failed: it ended",))
        self.assertEqual(row, Row(gateway="peer", value=None, notes=("failed: it ended",)))

    def test_reference_failed(self) -> None:
        """Without a reference there is a value and no ratio."""
        row = figures.row("tlsgate", [sample(1.0)], [], goals=(0.77, 0.70))
        self.assertEqual((row.value, row.ratio, row.verdict), (1.0, None, ""))

    def test_verdicts(self) -> None:
        """The goals count as they are printed: with two digits."""
        told = [figures.verdict(ratio, 0.77, 0.70) for ratio in (0.704, 0.706, 0.774, 0.776)]
        self.assertEqual(told, ["stretch", "reached", "reached", "missed"])
        self.assertEqual(figures.verdict(0.5, None, None), "")

    def test_notes(self) -> None:
        """A run that others disturbed, or that the load held up, says so."""
        disturbed = [sample(1.0, others_busy=0.3, load_busy=1.0, gateway_busy=0.5)]
        held_up = [sample(1.0, load_busy=1.0, gateway_busy=0.5)]
        self.assertEqual(
            (figures.notes(disturbed), figures.notes(held_up), figures.notes([sample(1.0)])),
            (
                ("others had 30% of the gateway's core",),
                ("the load was the limit, not the gateway",),
                (),
            ),
        )


class FormatTests(SynchronousTestCase):
    """Tests for the three formats."""

    facts: ClassVar = {"machine": "a small one", "kernel": "Linux"}
    sections = (
        Section(
            name="down",
            title="CPU per GiB to the client",
            unit="s",
            rate_unit="MiB/s",
            reach=0.77,
            stretch=0.7,
            rows=(
                figures.row("haproxy", [sample(1.0)], None),
                figures.row("tlsgate", [sample(0.75)], [sample(1.0)], goals=(0.77, 0.7)),
                Row(gateway="peer", value=None, notes=("failed: it ended",)),
            ),
        ),
    )

    def test_text(self) -> None:
        """The table is what a reader sees: aligned, the reference first, no trailing blanks."""
        facts, numbers, how = figures.as_text(self.facts, self.sections).split("\n\n")
        self.assertEqual(facts, "machine  a small one\nkernel   Linux")
        self.assertEqual(
            [line.split("  ")[0] for line in numbers.splitlines()],
            ["case", "CPU per GiB to the client [s]", "", ""],
        )
        self.assertEqual(
            [line.split() for line in numbers.splitlines()][2],
            ["tlsgate", "0.750", "0.75", "0.75", "0.75", "0.75", "0.77", "0.70", "reached"],
        )
        self.assertTrue(how.splitlines()[3].endswith("failed: it ended"))
        for line in (*numbers.splitlines(), *how.splitlines()):
            self.assertEqual(line, line.rstrip())

    def test_json_and_yaml(self) -> None:
        """Programs get everything, the same in both formats."""
        read = json.loads(figures.as_json(self.facts, self.sections))
        self.assertEqual(read, yaml.safe_load(figures.as_yaml(self.facts, self.sections)))
        self.assertEqual(read["machine"], self.facts)
        self.assertEqual(read["cases"][0]["rows"][1]["ratio"], 0.75)
        self.assertEqual(set(figures.FORMATS), {"text", "json", "yaml"})

    def test_numbers(self) -> None:
        """Three digits tell enough, whatever the size."""
        values = (None, 0.0, 0.12345, 0.9949, 0.9951, 1.23456, 12.3456, 123.456, 12345.6)
        self.assertEqual(
            [figures.number(value) for value in values],
            ["-", "0.000", "0.123", "0.995", "1.00", "1.23", "12.3", "123", "12346"],
        )


class CommandLineTests(SynchronousTestCase):
    """Tests for the bench's own arguments."""

    def refused(self, *arguments: str) -> str:
        """What the command line says when it refuses."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            self.assertRaises(SystemExit, bench.read, arguments)
        return said.getvalue().splitlines()[-1]

    def test_default(self) -> None:
        """Without arguments: every case; HAProxy first, then tlsgate; variants where they count."""
        choice = bench.read([])
        self.assertEqual(choice.cases, CASES)
        taken = {
            gateway.name: [each.name for each in CASES if gateway.takes(each)]
            for gateway in choice.gateways
        }
        everything = [each.name for each in CASES]
        self.assertEqual(
            taken,
            {
                "haproxy": everything,
                "tlsgate": everything,
                "tlsgate-public": ["down", "up", "roundtrip"],
                "haproxy-splice": ["pass1", "pass500"],
            },
        )

    def test_chosen(self) -> None:
        """Cases and gateways come in the order given; one that stands twice is numbered."""
        choice = bench.read(
            [
                *("--only", "up,down", "--only", "memory", "--gateways", "haproxy,haproxy"),
                *("--peer-command", "peer {listen}", "--peer-name", "ghost", "--runs", "2"),
            ]
        )
        self.assertEqual([each.name for each in choice.cases], ["up", "down", "memory"])
        self.assertEqual([each.name for each in choice.gateways], ["haproxy", "haproxy#2", "ghost"])
        self.assertEqual(choice.plan.runs, 2)

    def test_refused(self) -> None:
        """What is unknown or out of range is refused with what would be right."""
        self.assertIn("known: down, up", self.refused("--only", "sideways"))
        self.assertIn("known: haproxy", self.refused("--gateways", "nginx"))
        self.assertIn("from 1 to 100", self.refused("--runs", "0"))
        self.assertIn("from 0.2 to 60", self.refused("--seconds", "nan"))


class GatewayTests(SynchronousTestCase):
    """Tests for the gateways' configurations."""

    def place(self, name: str) -> gateways.Place:
        """A place for a gateway in a new folder."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        return gateways.Place(
            folder=folder,
            case=case(name),
            port=4433,
            target=9003,
            log=514,
            certs=gateways.Certificates.make(folder / "certs").copy(folder),
        )

    def test_tlsgate_loads(self) -> None:
        """The generated files are valid, and weaken nothing that is shipped."""
        for name in ("down", "pass1"):
            place = self.place(name)
            command = gateways.Tlsgate("tlsgate").command(place)
            settings = read_file(Path(command[-1]))
            (route,) = settings.routes
            self.assertEqual(route.name, "bench")
            self.assertEqual(route.client_cert.value, "none" if name == "pass1" else "required")
            self.assertIsNotNone(settings.timeouts.idle_seconds)
            self.assertEqual(settings.workers, 1)

    def test_haproxy(self) -> None:
        """HAProxy logs every connection and asks for a certificate."""
        place = self.place("connect")
        command = gateways.HAProxy("haproxy").command(place)
        text = Path(command[-1]).read_text()
        for words in ("option tcplog", "log 127.0.0.1:514", "verify required", "nbthread 1"):
            self.assertIn(words, text)

    def test_peer(self) -> None:
        """A peer's command is split like a shell would, and its places are filled in."""
        peer = gateways.Peer("peer", template="ghost --listen '127.0.0.1:{listen}' -k {key}")
        place = self.place("down")
        self.assertEqual(
            peer.command(place),
            ["ghost", "--listen", "127.0.0.1:4433", "-k", f"{place.certs.folder}/server-key.pem"],
        )
        self.assertEqual((peer.takes(case("down")), peer.takes(case("pass1"))), (True, False))

    def test_peer_refused(self) -> None:
        """A place that does not exist, an open brace and an empty command are errors."""
        for template in ("ghost {port}", "ghost {", "ghost 'a", " ", "ghost {}"):
            with self.assertRaises(BenchError):
                gateways.fill(template, {"listen": "1"})


class MachineTests(SynchronousTestCase):
    """Tests for what the bench reads from the kernel."""

    def test_own_cpu_time(self) -> None:
        """The CPU time of a process is read in fractions of a tick, and only grows."""
        first = machine.cpu_seconds([os.getpid()])
        sum(range(200_000))
        self.assertGreater(machine.cpu_seconds([os.getpid()]), first)

    def test_ended_child(self) -> None:
        """A program that ends instead of listening is an error with its last words."""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        child = Child(
            "early",
            [sys.executable, "-c", "import sys; sys.exit('no such option')"],
            folder / "early.log",
            cwd=folder,
        )
        self.addCleanup(child.stop)
        child.process.wait(20)
        error = self.assertRaises(BenchError, child.wait_for_port, 1)
        self.assertEqual(str(error), "early ended with code 1: no such option")

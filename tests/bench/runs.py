"""The runs themselves: gateways side by side, one under load at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from attrs import define, field, frozen

from tests.bench import figures, machine
from tests.bench.cases import PASS_NAME, TLS_NAME, TOKEN, Answer, Case, Kind
from tests.bench.children import BenchError, Child, Load
from tests.bench.figures import Sample, Section
from tests.bench.gateways import Certificates, Gateway, Place, free_port, start

#: Load before the measured seconds: buffers grow, caches and interpreters get warm.
WARM_SECONDS = 0.7

#: How long a gateway is left alone before its memory is read.
SETTLE_SECONDS = 1.0

#: Connections of the memory case: first a few, so that what is made once is made.
FIRST_CONNECTIONS = 50
WAVES = 3

#: Memory repeats closely, and every run of it needs a new process and 6,000 handshakes.
MEMORY_RUNS = 2

Say = Callable[[str], None]


@frozen(kw_only=True)
class Plan:
    """What holds for every case."""

    runs: int
    seconds: float
    cipher: str
    group: str
    connections: int | None = None
    nice: int = 0


@define
class Contender:
    """A gateway in one case: what it has measured, or why it is out."""

    gateway: Gateway
    number: int
    child: Child | None = None
    port: int = 0
    samples: list[Sample] = field(factory=list)
    failure: str | None = None


class Bench:
    """Everything that is started for one call of the bench; a context that ends it all."""

    def __init__(self, folder: Path, plan: Plan, say: Say) -> None:
        self.folder = folder
        self.plan = plan
        self.say = say
        self.certs = Certificates.make(folder / "certs")
        program = machine.build_load(folder)
        words = [*machine.pinned(machine.cores()[1], plan.nice), str(program)]
        words += [str(self.certs.folder / name) for name in ("ca.pem", "client.pem")]
        words += [str(self.certs.folder / "client-key.pem"), plan.cipher, plan.group]
        child = Child("load", words, folder / "load.log", cwd=folder, talk=True)
        try:
            if plan.nice:
                machine.prefer(child.pid, plan.nice)
            self.load = Load(child)
        except BaseException:
            child.stop()
            raise
        self._children = [child]
        self._negotiated = ""
        self._places = 0

    def __enter__(self) -> Self:
        """The context is the bench itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what was started, the gateways first."""
        for child in reversed(self._children):
            child.stop()

    def facts(self) -> dict[str, str]:
        """What only the runs could tell."""
        plan = self.plan
        told = {"runs": f"{plan.runs} of {plan.seconds:g} s for each gateway, in turns; medians"}
        if self._negotiated:
            told["TLS"] = f"{self._negotiated}, P-256 certificates, client certificate required"
        return told

    def case(self, case: Case, gateways: Sequence[Gateway]) -> Section:
        """Measure *case* through all *gateways*; one that fails leaves a row that says why."""
        contenders = [
            Contender(gateway, number)
            for number, gateway in enumerate(gateways)
            if gateway.takes(case)
        ]
        run = self._memory if case.kind is Kind.MEMORY else self._cpu
        try:
            run(case, contenders)
        finally:
            for contender in contenders:
                self._stop(contender)
        reference = contenders[0].samples if contenders else []
        rows = [
            figures.row(
                each.gateway.name,
                [] if each.failure else each.samples,
                None if each is contenders[0] else reference,
                goals=(case.reach, case.stretch) if each.gateway.ours else (None, None),
                remarks=(each.failure,) if each.failure else self._logged(case, each),
            )
            for each in contenders
        ]
        return Section(
            name=case.name,
            title=case.title,
            unit=case.unit,
            rate_unit=case.rate_unit,
            reach=case.reach,
            stretch=case.stretch,
            rows=tuple(rows),
        )

    # -- the two kinds of cases ---------------------------------------------------------------

    def _cpu(self, case: Case, contenders: Sequence[Contender]) -> None:
        for each in contenders:
            self._attempt(case, each, self._start)
        for number in range(self.plan.runs):
            for each in contenders:
                if each.failure is None:
                    self._attempt(case, each, self._run)
            self.say(f"{case.name} {number + 1}/{self.plan.runs}: " + _so_far(case, contenders))

    def _memory(self, case: Case, contenders: Sequence[Contender]) -> None:
        count = min(MEMORY_RUNS, self.plan.runs)
        for number in range(count):
            for each in contenders:
                if each.failure is None:
                    self._attempt(case, each, self._start)
                if each.failure is None:
                    self._attempt(case, each, self._waves)
                self._stop(each)
            self.say(f"{case.name} {number + 1}/{count}: " + _so_far(case, contenders))

    def _run(self, case: Case, each: Contender) -> None:
        assert each.child is not None
        before, core, family = (
            each.gateway.log_lines(each.child),
            machine.cores()[0],
            each.child.family(),
        )
        began, busy, own = time.monotonic(), machine.busy_seconds(core), machine.cpu_seconds(family)
        answer = self._command(case, each, case.mode, seconds=self.plan.seconds, warm=WARM_SECONDS)
        busy = machine.busy_seconds(core) - busy - (machine.cpu_seconds(family) - own)
        lines = int(answer["lines"])
        if before is not None:
            # Those of the warm-up are in it too; it is only to see that lines are written.
            lines = (each.gateway.log_lines(each.child) or 0) - before
        others = max(0.0, busy / (time.monotonic() - began))
        each.samples.append(case.sample(answer, others_busy=others, lines=lines))

    def _waves(self, case: Case, each: Contender) -> None:
        """Hold connections three times; compare the third time with the fresh process."""
        assert each.child is not None
        self._command(case, each, "hold", connections=FIRST_CONNECTIONS)
        self.load.command("release")
        time.sleep(SETTLE_SECONDS)
        empty = held = each.child.resident_kib()
        count = self.plan.connections or case.connections
        for _ in range(WAVES):
            self._command(case, each, "hold", connections=count)
            time.sleep(SETTLE_SECONDS)
            held = each.child.resident_kib()
            self.load.command("release")
        value = (held - empty) / count
        each.samples.append(
            Sample(value=value, rate=0.0, gateway_busy=0.0, load_busy=0.0, others_busy=0.0)
        )

    # -- one gateway -----------------------------------------------------------------------------

    def _attempt(
        self, case: Case, each: Contender, step: Callable[[Case, Contender], None]
    ) -> None:
        """Take one step with a gateway; its failure is its own, the load's end is everybody's."""
        try:
            step(case, each)
        except (BenchError, ValueError, OSError) as error:
            self.load.child.alive()
            self.say(f"{case.name}, {each.gateway.name}: {error}")
            if each.child is not None and "\n" not in str(error):
                self.say(each.child.last_words())
            each.failure = f"failed: {str(error).splitlines()[-1]}"

    def _start(self, case: Case, each: Contender) -> None:
        self._places += 1
        folder = self.folder / f"{self._places:03d}-{case.name}-{each.number}"
        folder.mkdir(mode=0o755)
        place = Place(
            folder=folder,
            case=case,
            port=free_port(),
            target=self.load.ports[case.target],
            log=self.load.ports["log"],
            certs=self.certs.copy(folder),
        )
        each.port = place.port
        each.child = start(each.gateway, place, each.number, self.plan.nice)
        self._children.append(each.child)
        if not case.passthrough and case.target == "echo":
            self._probe(each)

    def _stop(self, each: Contender) -> None:
        if each.child is not None:
            each.child.stop()
            self._children.remove(each.child)
            each.child = None

    def _probe(self, each: Contender) -> None:
        """Verify the gateway's certificate once, and that all negotiate the same."""
        answer = self.load.command("probe", port=each.port, sni=TLS_NAME, alpn=TOKEN)
        text = f"{answer['version']}, {answer['cipher']}, {answer['group']}"
        if answer["resumed"] or answer["alpn"] != TOKEN:
            raise BenchError(f"not the handshake that was asked for: {answer}")
        if self._negotiated and text != self._negotiated:
            raise BenchError(f"negotiated {text}, the others {self._negotiated}")
        self._negotiated = text

    def _command(self, case: Case, each: Contender, mode: str, **keys: object) -> Answer:
        assert each.child is not None
        names = {"sni": PASS_NAME} if case.passthrough else {"sni": TLS_NAME, "alpn": TOKEN}
        connections = self.plan.connections or case.connections
        family = ",".join(map(str, each.child.family()))
        given = {"port": each.port, "connections": connections, "pids": family, **names, **keys}
        seconds = given.pop("seconds", 0.0)
        assert isinstance(seconds, float)
        return self.load.command(mode, seconds=seconds, **given)

    def _logged(self, case: Case, each: Contender) -> tuple[str, ...]:
        """Say it when a gateway that should log each connection did not."""
        if case.mode != "connect":
            return ()
        wanted = 0.9 * self.plan.seconds * sum(sample.rate for sample in each.samples)
        lines = sum(sample.lines for sample in each.samples)
        return () if lines >= wanted else ("wrote fewer log lines than connections",)


def _so_far(case: Case, contenders: Sequence[Contender]) -> str:
    return ", ".join(
        f"{each.gateway.name} {figures.number(each.samples[-1].value)} {case.unit}"
        if each.samples and each.failure is None
        else f"{each.gateway.name} failed"
        for each in contenders
    )

"""The machine under the bench: what it must have, what it is, and who runs where."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import tlsgate
from tests.bench.children import BenchError

#: program: the Debian package that has it.
NEEDED = {
    "gcc": "gcc",
    "haproxy": "haproxy",
    "openssl": "openssl",
    "setpriv": "util-linux",
    "taskset": "util-linux",
}
HEADER = Path("/usr/include/openssl/ssl.h")

#: The first of a range that Debian leaves to services without an account of their own.
FIRST_UID = 64200

SOURCES = Path(__file__).with_name("load")


def missing() -> list[str]:
    """What is not here and how to get it, one sentence each."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    absent = {
        package for program, package in NEEDED.items() if not shutil.which(program, path=path)
    }
    if not HEADER.exists():
        absent.add("libssl-dev")
    problems = []
    if absent:
        problems.append(f"missing packages: apt-get install {' '.join(sorted(absent))}")
    if len(os.sched_getaffinity(0)) < 2:
        problems.append("one core is not enough: the gateway needs one of its own")
    return problems


@functools.cache
def cores() -> tuple[int, int]:
    """The gateway's core and the core of load and target; asked first before we pin ourselves."""
    first, second, *_ = sorted(os.sched_getaffinity(0))
    return first, second


def build_load(folder: Path) -> Path:
    """Compile the load generator into *folder*."""
    program = folder / "load"
    command = ["gcc", "-O2", "-std=gnu11", "-Wall", "-o", str(program)]
    command += [str(source) for source in sorted(SOURCES.glob("*.c"))]
    done = subprocess.run(
        [*command, "-lssl", "-lcrypto"], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise BenchError(f"the load generator does not compile:\n{done.stderr}")
    return program


def open_to_all(path: Path) -> bool:
    """True when any user may reach *path*: each folder above it can be entered."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)


def pinned(core: int, nice: int) -> list[str]:
    """The words before a command that is to run on *core*."""
    return ["taskset", "-c", str(core), *(["nice", "-n", str(nice)] if nice else [])]


def confined(nice: int, number: int) -> list[str]:
    """The words before a gateway's command: its core, and a user without privileges.

    Each gateway has a user of its own, because the kernel limits pipes by user. A test
    environment below a private home directory stays readable by one capability, which
    every gateway gets alike; pipes, ports and limits are those of an ordinary user.
    """
    words = [*pinned(cores()[0], nice), "setpriv", "--pdeathsig", "KILL"]
    if os.geteuid() == 0:
        user = FIRST_UID + number
        words += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        places = (Path(sys.prefix) / "bin", Path(sys.executable), Path(__file__))
        kept = "" if all(map(open_to_all, places)) else ",+dac_read_search"
        words += [f"--inh-caps=-all{kept}", f"--ambient-caps=-all{kept}"]
    return words


def prefer(pid: int, nice: int) -> None:
    """Let *nice* count against other sessions too: the kernel weighs sessions first.

    See sched(7), "the autogroup feature"; a kernel without it needs nothing.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def busy_seconds(core: int) -> float:
    """How long *core* has not been idle since the machine started."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            # user nice system idle iowait irq softirq steal; guests are in user already.
            ticks = [int(word) for word in line.split()[1:9]]
            return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    raise BenchError(f"the kernel does not say how busy core {core} is")


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time of processes so far, their ended threads included."""
    # clock_getcpuclockid(3) for any process, which Python offers for threads only.
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return (done.stdout or done.stderr).strip().split("\n")[0]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def haproxy_openssl() -> str:
    """The OpenSSL that HAProxy runs on."""
    done = subprocess.run(
        ["haproxy", "-vv"], capture_output=True, text=True, timeout=20, check=False
    )
    for line in done.stdout.splitlines():
        if line.startswith("Running on OpenSSL version"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def python_openssl() -> str:
    """The OpenSSL under pyOpenSSL; asked in another process, the bench itself needs none."""
    return _first_line(
        sys.executable,
        "-c",
        "from OpenSSL import SSL; print(SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode())",
    )


def _revision() -> str:
    """The commit under test, with a mark when files differ from it."""
    try:
        return _first_line("git", "-C", str(SOURCES), "describe", "--always", "--dirty")
    except OSError:
        return "no git here"


def facts() -> dict[str, str]:
    """Machine and versions, for the head of the report."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    gateway, load = cores()
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": f"gateway on {gateway}, load and target on {load}",
        "busy": f"load average {os.getloadavg()[0]:.2f} at the start",
        "HAProxy": f"{_first_line('haproxy', '-v').split(' - ')[0]}, {haproxy_openssl()}",
        "tlsgate": f"{tlsgate.__version__} ({_revision()})",
        "Python": platform.python_version(),
        "Twisted": importlib.metadata.version("twisted"),
        "pyOpenSSL": f"{importlib.metadata.version('pyopenssl')}, {python_openssl()}",
        "load": _first_line("openssl", "version"),
    }

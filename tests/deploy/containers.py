"""Containers without an engine: namespaces, a read-only root, the declared mounts, user and environment, and nothing else.

What a container file, a compose file or a manifest says is carried out as it stands, on a private network in which containers find
each other by name. In place of the image stand this environment's packages, at the image's paths. It takes Linux and root.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
UID = 1000  # whose data and keys the tests make; of nobody in particular, only not root
SERVICE = "10.77.0.4"  # its address, which its certificate names
NEEDED = ("unshare", "nsenter", "setpriv", "ip", "mount")
SYSTEM = ("bin", "lib", "lib64", "sbin")  # links into usr


def missing() -> str | None:
    """Why containers cannot be made here, if so."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "namespaces with users of their own take Linux and root"
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    if lacking:
        return f"{', '.join(lacking)} not found (Debian: util-linux, iproute2)"
    tried = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else f"no namespaces here: {tried.stderr.decode().strip()}"


@dataclass(frozen=True)
class Image:
    """What the container file says of the final image."""

    environment: dict[str, str]
    copied: dict[str, Path]  # path in the image: file of the context
    user: str
    entrypoint: list[str]
    command: list[str]


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine, at a path of the container."""

    source: Path
    target: str
    read_only: bool = True


@dataclass
class Container:
    """One that runs."""

    name: str
    address: str
    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    user: str
    log: Path

    @property
    def inside(self) -> int:
        """The process that is number one inside."""
        return psutil.Process(self.process.pid).children()[0].pid

    def run(self, *command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as its user and in its environment: what ``exec`` and probes do."""
        enter = ["nsenter", "-t", str(self.inside), "--mount", "--net", "--pid", "--root", "--wd"]
        return subprocess.run(
            [*enter, *as_user(self.user, self.environment), *command], capture_output=True, text=True, timeout=seconds, check=False
        )

    def stop(self, seconds: float = 20) -> int:
        """SIGTERM to number one, as engines do, and SIGKILL after a while; return the exit code."""
        if self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children():
                child.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@dataclass
class Network:
    """A bridge of its own, with nothing beyond it."""

    folder: Path
    names: dict[str, str]  # of hosts, and their addresses
    containers: list[Container] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        time.sleep(0.2)
        self.outside(
            "sh", "-ec", "ip link set lo up; ip link add br0 type bridge; ip addr add 10.77.0.1/24 dev br0; ip link set br0 up"
        )

    def outside(self, *command: str, seconds: float = 60) -> str:
        """Output of a command beside the containers, on their network."""
        enter = ["nsenter", "-t", str(self._holder.pid), "--net"]
        done = subprocess.run([*enter, *command], capture_output=True, text=True, timeout=seconds, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
        return done.stdout

    def start(
        self, image: Image, name: str, command: list[str], *, user: str | None = None, mounts: Sequence[Mount] = (),
        environment: dict[str, str] | None = None, entrypoint: list[str] | None = None, tmpfs: Sequence[str] = (),
    ) -> Container:  # fmt: skip
        """Start a container under a name that the others know."""
        root, log = self.folder / f"root-{name}", self.folder / f"{name}.log"
        root.mkdir()
        whole = image.environment | {"PYTHONPATH": str(ROOT)} | (environment or {})
        own = [Mount(source, target) for target, source in image.copied.items()]
        script = _script(root, self._hosts(name), [*_packages(), *own, *mounts], list(tmpfs), self.names[name])
        words = [*(entrypoint or image.entrypoint), *(command or image.command)]
        start = ["chroot", str(root), *as_user(user or image.user, whole), *words]
        with log.open("wb") as stream:
            process = subprocess.Popen(
                ["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
                 "sh", "-euc", f"{script}\nexec {shlex.join(start)}"], stdout=stream, stderr=stream, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        container = Container(name, self.names[name], process, whole, user or image.user, log)
        self.containers.append(container)
        while not psutil.Process(process.pid).children():
            time.sleep(0.02)
        while b"waiting" not in log.read_bytes():
            assert process.poll() is None, f"{name} did not start: {log.read_text()}"
            time.sleep(0.02)
        link = f"v{len(self.containers)}"
        self.outside("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(container.inside))
        self.outside("ip", "link", "set", link, "master", "br0", "up")
        return container

    def close(self) -> None:
        """Stop the containers, the last one first."""
        for container in reversed(self.containers):
            container.stop()
        self._holder.kill()
        self._holder.wait()

    def _hosts(self, name: str) -> str:
        lines = ["127.0.0.1 localhost", f"{self.names[name]} {name}"]
        return "\n".join(lines + [f"{address} {host}" for host, address in self.names.items() if host != name])


def as_user(user: str, environment: dict[str, str]) -> list[str]:
    """Words before a command that give up every privilege and start from an empty environment."""
    uid, _, gid = user.partition(":")
    drop = ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    return ["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid or uid}", *drop, "/usr/bin/env", "-i",
            *(f"{name}={value}" for name, value in environment.items())]  # fmt: skip


def read_container_file(file: Path, arguments: dict[str, str] | None = None) -> Image:
    """The last stage of a container file: ENV, COPY from the context, USER, ENTRYPOINT, CMD."""
    text = file.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    values: dict[str, str] = {}
    environment, copied, user, entrypoint, command = {"PATH": "/usr/local/bin:/usr/bin:/bin"}, {}, "0", [], []
    for line in lines:
        verb, _, rest = line.partition(" ")
        words = shlex.split(_expand(rest, values | environment)) if verb in ("ENV", "COPY", "ARG") else []
        if verb == "FROM":
            environment, copied = {"PATH": "/usr/local/bin:/usr/bin:/bin"}, {}
        elif verb == "ARG":
            name, _, default = words[0].partition("=")
            values[name] = (arguments or {}).get(name, default)
        elif verb == "ENV":
            environment |= dict(word.split("=", 1) for word in words)
        elif verb == "COPY" and not any(word.startswith("--from") for word in words):
            *sources, target = [word for word in words if not word.startswith("--")]
            if target.startswith("/"):
                copied |= {f"{target}{Path(source).name}": ROOT / source for source in sources}
        elif verb == "USER":
            user = rest.strip()
        elif verb == "ENTRYPOINT":
            entrypoint = json.loads(rest)
        elif verb == "CMD":
            command = json.loads(rest)
    return Image(environment, copied, user, entrypoint, command)


def _expand(text: str, values: dict[str, str]) -> str:
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(f"${{{name}}}", values[name]).replace(f"${name}", values[name])
    return text


def _packages() -> list[Mount]:
    """This environment where it is, which its scripts name, and where the image has its own."""
    places = dict.fromkeys([sys.prefix, sys.base_prefix, str(ROOT)])
    return [Mount(Path("/usr"), "/usr"), *(Mount(Path(place), place) for place in places if not place.startswith("/usr")),
            Mount(Path(sys.prefix), "/opt/distlasso")]  # fmt: skip


def _script(root: Path, hosts: str, mounts: list[Mount], tmpfs: list[str], address: str) -> str:
    """Shell that makes the root of a container, and its network once the other end is there."""
    q = shlex.quote
    lines = [
        "ip link set lo up",
        f"mount -t tmpfs -o mode=755 none {root}",
        f"mkdir {root}/etc {root}/proc {root}/dev",
        f"printf '%s\\n' {q(hosts)} >{root}/etc/hosts",
        f"cp /etc/ld.so.cache /etc/nsswitch.conf {root}/etc/ 2>/dev/null || true",
        f"printf 'root:x:0:0::/:/bin/sh\\n' >{root}/etc/passwd",
        f"mount -t proc none {root}/proc",
        f"mount --rbind /dev {root}/dev",
        *(f"ln -s usr/{name} {root}/{name}" for name in SYSTEM),
    ]
    for mount in mounts:
        at = f"{root}{mount.target}"
        make = f"mkdir -p {q(at)}" if mount.source.is_dir() else f"mkdir -p {q(str(Path(at).parent))} && touch {q(at)}"
        lines += [f"[ -e {q(at)} ] || {{ {make}; }}", f"mount --bind {q(str(mount.source))} {q(at)}"]
        if mount.read_only:
            lines.append(f"mount -o remount,bind,ro {q(at)}")
    for place in tmpfs:
        target, _, options = place.partition(":")
        lines += [f"mkdir -p {root}{target}", f"mount -t tmpfs -o {options or 'mode=1777'} none {root}{target}"]
    return "\n".join([
        *lines, f"mount -o remount,ro {root}",
        "echo waiting for the network; until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done",
        f"ip addr add {address}/24 dev eth0", "ip link set eth0 up", f"cd {root}",
    ])  # fmt: skip

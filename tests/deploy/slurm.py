"""A real SLURM on this machine: munge, slurmctld and two slurmd, everything they write in one folder, all on loopback."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

NODES = 2
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")

# Two partitions over the same nodes: jobs of "urgent" preempt those of "main". Short waits in place of SLURM's minutes.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CryptoType=crypto/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
PluginDir={plugins}
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
KillWait=2
MinJobAge=600
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,defer_batch
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{nodes}
PartitionName=main Nodes=n[1-{count}] Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes=n[1-{count}] MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing() -> list[str]:
    """Programs of SLURM that are not installed here."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in NEEDED if shutil.which(name, path=path) is None]


class Slurm:
    """Starts with the object, stops by ``stop``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"), "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin",
        }  # fmt: skip
        folder.chmod(0o755)
        ports = _free_ports(NODES + 1)
        nodes = "\n".join(
            f"NodeName=n{k + 1} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={ports[k + 1]} CPUs=4 RealMemory=8000"
            for k in range(NODES)
        )
        (folder / "slurm.conf").write_text(CONFIGURATION.format(
            host=socket.gethostname(), user=getpass.getuser(), folder=folder, controller=ports[0], nodes=nodes, count=NODES,
            plugins=_plugins(),
        ))  # fmt: skip
        try:
            self._start_munge()
            (folder / "state").mkdir()
            self._start("slurmctld", "slurmctld", "-D", "-c", "-f", str(folder / "slurm.conf"))
            for k in range(NODES):
                self._start(f"slurmd{k + 1}", "slurmd", "-D", "-N", f"n{k + 1}", "-f", str(folder / "slurm.conf"))
            self.wait_until(lambda: self("sinfo", "-h", "-o", "%T %D", "-p", "main").strip() == f"idle {NODES}", "idle nodes", 60)
        except BaseException:
            self.stop()
            raise

    def __call__(self, *command: str, **environment: str) -> str:
        """Standard output of a command of SLURM's."""
        done = subprocess.run(
            command, capture_output=True, text=True, env=self.environment | environment, timeout=60, check=False
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def job(self, number: str) -> dict[str, str]:
        """What the controller knows of a job."""
        words = self("scontrol", "show", "job", "-o", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait_until(self, condition: object, what: str, seconds: float) -> None:
        """Wait for something; the end of the logs says why it did not come."""
        assert callable(condition)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return
            time.sleep(0.2)
        logs = "".join(f"== {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in sorted(self.folder.glob("*.log")))
        raise AssertionError(f"waited {seconds} s for {what}\n{self('squeue', '-l')}\n{logs}")

    def stop(self) -> None:
        """Cancel what runs, stop the daemons in the reverse order, and wait until they are gone."""
        if len(self._processes) > 1:
            subprocess.run(["scancel", "--full", "-u", getpass.getuser()], env=self.environment, capture_output=True, check=False)
            deadline = time.monotonic() + 15
            while time.monotonic() < deadline:
                left = subprocess.run(["squeue", "-h"], env=self.environment, capture_output=True, text=True, check=False)
                if not left.stdout.strip():
                    break
                time.sleep(0.2)
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
        self._processes.clear()

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.out.log").open("wb") as log:
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=self.environment))

    def _start_munge(self) -> None:
        place = self.folder / "munge"
        place.mkdir(mode=0o755)
        key = place / "key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        options = {"key-file": key, "socket": place / "socket", "pid-file": place / "pid", "seed-file": place / "seed"}
        self._start("munged", "munged", "--foreground", "--force", *(f"--{name}={value}" for name, value in options.items()))
        self.wait_until((place / "socket").exists, "munge", 20)


def _plugins() -> str:
    """Where Debian, or another distribution, has SLURM's plugins."""
    for folder in (*Path("/usr/lib").glob("*/slurm-wlm"), *Path("/usr/lib").glob("*/slurm"), *Path("/usr/lib*").glob("slurm")):
        if (folder / "auth_munge.so").exists():
            return str(folder)
    return "/usr/lib/slurm"


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports

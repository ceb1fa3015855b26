"""A real SLURM cluster on this machine: all daemons on loopback, several virtual nodes, GPUs that exist as names only.

Nothing outside the folder it is given is touched, and every process it started is stopped by its own handle. Made for
Debian's packages; `PACKAGES` lists them.
"""

import contextlib
import csv
import getpass
import io
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PACKAGES = (
    "slurmctld",
    "slurmd",
    "slurm-client",
    "slurmdbd",
    "slurm-wlm-mysql-plugin",
    "munge",
    "mariadb-server-core",
    "mariadb-client-core",
)
"""Debian packages; `.ci/run` and docs/cluster.md install the same (a test compares them)."""

_PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmdbd", "sbatch", "sacct", "mariadbd", "mariadb-install-db")

NODES = ("node1", "node2", "node3")
GPUS_PER_NODE = 2
CPUS_PER_NODE = 8
NODE_MB = 16_000
"""What a node claims, in MB; it is more than this machine has, and jobs use little of it."""


def missing_programs() -> list[str]:
    """Programs of the cluster that are not installed."""
    return [name for name in _PROGRAMS if shutil.which(name, path=_search_path()) is None]


def _search_path() -> str:
    return os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]


class Cluster:
    """The cluster. Three nodes of two GPUs, all of them in the partitions `processors` and `graphics`.

    Parameters
    ----------
    folder
        Empty folder for state, logs and sockets, with a short path (a socket's path has at most 107 characters).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: dict[str, subprocess.Popen] = {}
        self._user = getpass.getuser()
        self._ctld_port, self._dbd_port, *node_ports = _free_ports(2 + len(NODES))
        self._node_ports = dict(zip(NODES, node_ports, strict=True))
        for name in ("etc", "log", "run", "spool", "bin", "gpu", "munge", *(f"spool/{node}" for node in NODES)):
            (folder / name).mkdir(parents=True)
        folder.chmod(0o755)

    # ------------------------------------------------------------------------------------------------- start and stop

    def start(self) -> None:
        """Start all daemons and wait until every node is idle (about ten seconds)."""
        self._write_configuration()
        munge = self.folder / "munge"
        self._launch(
            "munged",
            *("munged", "--foreground", "--force", f"--key-file={munge}/key", f"--socket={munge}/socket"),
            *(f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed"),
        )
        self._wait("munged", lambda: self._succeeds("munge", "-n", "-S", f"{munge}/socket"))
        self._start_database()
        self._launch("slurmctld", "slurmctld", "-D", "-f", str(self.folder / "etc/slurm.conf"))
        for node in NODES:
            self.start_node(node)
        self._wait("slurmctld", lambda: self._succeeds("scontrol", "ping"))
        self._wait("slurmctld", lambda: self.node_states() == dict.fromkeys(NODES, "idle"))

    def _start_database(self) -> None:
        database = self.folder / "mysql"
        options = ["--no-defaults", f"--datadir={database}", f"--user={self._user}", "--skip-log-bin"]
        self._launch(
            "mariadb-install-db",
            *("mariadb-install-db", *options, "--skip-test-db"),
            *("--auth-root-authentication-method=socket", f"--auth-root-socket-user={self._user}"),
        )
        if self._processes["mariadb-install-db"].wait(300):
            raise RuntimeError((self.folder / "log/mariadb-install-db.out").read_text(errors="replace"))
        self._launch(
            "mariadbd",
            *("mariadbd", *options, f"--socket={self.folder}/run/mysql.sock", "--skip-networking"),
            *(
                f"--pid-file={self.folder}/run/mariadbd.pid",
                "--innodb-buffer-pool-size=64M",
                "--performance-schema=OFF",
            ),
            *("--innodb-log-file-size=32M", "--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=900"),
        )
        self._wait("mariadbd", (self.folder / "run/mysql.sock").exists)
        self._launch("slurmdbd", "slurmdbd", "-D")
        self._wait("slurmdbd", lambda: self._succeeds("sacctmgr", "-n", "list", "cluster"))
        self.run("sacctmgr", "-i", "add", "cluster", "loopback")

    def stop(self) -> None:
        """Cancel all jobs and end every process that this object started."""
        if self._runs("slurmctld"):
            # What does not end in good order is killed below.
            with contextlib.suppress(subprocess.SubprocessError, RuntimeError):
                self.run("scancel", "--full", f"--user={self._user}", timeout=20)
                self._wait("slurmctld", lambda: not self.run("squeue", "--noheader", timeout=20).strip(), seconds=20)
        for name in reversed(list(self._processes)):
            self._end(name)
        for node in NODES:
            self._kill_steps(node)

    def _end(self, name: str) -> None:
        process = self._processes.pop(name)
        if process.poll() is None:
            # The whole group: mariadb-install-db is a script.
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _launch(self, name: str, *command: str) -> None:
        with open(self.folder / "log" / f"{name}.out", "ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A Ctrl-C for the tests must not reach the daemons before stop() does.
                start_new_session=True,
            )

    def _runs(self, name: str) -> bool:
        return name in self._processes and self._processes[name].poll() is None

    def _wait(self, name: str, condition: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if not self._runs(name) or time.monotonic() > deadline:
                log = (self.folder / "log" / f"{name}.out").read_text(errors="replace")
                raise RuntimeError(f"{name} is not ready:\n{log[-2000:]}")
            time.sleep(0.1)

    def _succeeds(self, *command: str) -> bool:
        return subprocess.run(command, env=self.environment(), capture_output=True, check=False).returncode == 0

    # ---------------------------------------------------------------------------------------------------------- nodes

    def start_node(self, node: str) -> None:
        """Start the daemon of one node."""
        self._launch(node, "slurmd", "-D", "-N", node, "-f", str(self.folder / "etc/slurm.conf"))

    def kill_node(self, node: str) -> None:
        """What a power failure does: SIGKILL to a node's daemon, its job steps and all that they started."""
        process = self._processes.pop(node)
        process.kill()
        process.wait()
        self._kill_steps(node)

    def _kill_steps(self, node: str) -> None:
        """SIGKILL to the job steps of a node whose daemon is gone, and to all that they started."""
        # A step is no child of the daemon; the log file that it holds open tells whose it is.
        log = str(self.folder / "log" / f"{node}.log")
        for status in Path("/proc").glob("[0-9]*/comm"):
            with contextlib.suppress(OSError):
                if status.read_text() != "slurmstepd\n":
                    continue
                if log in (os.readlink(fd) for fd in (status.parent / "fd").iterdir()):
                    step = int(status.parent.name)
                    for pid in (step, *_descendants(step)):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)

    def revive_node(self, node: str) -> None:
        """Start a killed node again and wait until it takes jobs."""
        self.start_node(node)
        self._wait("slurmctld", lambda: self.node_states()[node] in {"idle", "mixed", "allocated"})

    def node_states(self) -> dict[str, str]:
        """State of each node, as `sinfo` words it."""
        lines = self.run("sinfo", "--noheader", "--Node", "--partition=processors", "--format=%N %T").splitlines()
        return {name: state.rstrip("*") for name, state in map(str.split, lines)}

    # -------------------------------------------------------------------------------------------------------- commands

    def environment(self) -> dict[str, str]:
        """Environment in which SLURM's commands, and Snakemake, speak to this cluster."""
        path = os.pathsep.join([str(self.folder / "bin"), _search_path()])
        found = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
        return found | {
            "PATH": path,
            "SLURM_CONF": str(self.folder / "etc/slurm.conf"),
            # The only way to tell slurmdbd where its database listens.
            "MYSQL_UNIX_PORT": str(self.folder / "run/mysql.sock"),
        }

    def run(self, *command: str, timeout: float = 60) -> str:
        """Run a SLURM command and return its output."""
        return subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, check=True, timeout=timeout
        ).stdout

    def records(self, folder: Path) -> list[dict[str, str]]:
        """SLURM's own records of the jobs submitted from a folder, oldest first; a requeued job has several."""
        fields = (
            "JobID,State,Partition,NodeList,AllocTRES,ReqTRES,Comment,WorkDir,TimelimitRaw,Elapsed,Account,Start,End"
        )
        output = self.run(
            "sacct", "--allocations", "--duplicates", "--parsable2", "--starttime=now-1days", f"-o{fields}"
        )
        rows = csv.DictReader(io.StringIO(output), delimiter="|")
        return [row for row in rows if row["WorkDir"] == str(folder)]

    def jobs(self, folder: Path, state: str) -> list[dict[str, str]]:
        """JobID, NodeList and Comment of a folder's jobs that are in a state now, RUNNING for example.

        Cheaper than the records, which get the comment of a job only at its end.
        """
        output = self.run("squeue", "--noheader", f"--states={state}", "--format=%A|%N|%k|%Z")
        rows = (line.split("|") for line in output.splitlines())
        return [
            {"JobID": job, "NodeList": node, "Comment": comment}
            for job, node, comment, job_folder in rows
            if job_folder == str(folder)
        ]

    # ---------------------------------------------------------------------------------------------------- configuration

    def _write_configuration(self) -> None:
        folder, etc = self.folder, self.folder / "etc"
        key = folder / "munge/key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        munge_socket = folder / "munge/socket"
        (etc / "slurmdbd.conf").touch(mode=0o600)
        (etc / "slurmdbd.conf").write_text(
            f"""
AuthType=auth/munge
AuthInfo=socket={munge_socket}
DbdHost={socket.gethostname().split(".")[0]}
DbdAddr=127.0.0.1
DbdPort={self._dbd_port}
CommunicationParameters=NoInAddrAny
SlurmUser={self._user}
PidFile={folder}/run/slurmdbd.pid
LogFile={folder}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={self._user}
StorageLoc=accounting
"""
        )
        nodes = "".join(
            f"NodeName={node} NodeHostname={node} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS_PER_NODE}"
            f" RealMemory={NODE_MB} Gres=gpu:fake:{GPUS_PER_NODE} State=UNKNOWN\n"
            for node, port in self._node_ports.items()
        )
        (etc / "slurm.conf").write_text(
            f"""
ClusterName=loopback
SlurmctldHost={socket.gethostname().split(".")[0]}(127.0.0.1)
SlurmctldPort={self._ctld_port}
SlurmUser={self._user}
SlurmdUser={self._user}
AuthType=auth/munge
# A requeued job waits for this many seconds before it starts again.
AuthInfo=socket={munge_socket},cred_expire=5
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/spool
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
TaskPlugin=task/none
# By process group: with proctrack/linuxproc a job whose shell dies first leaves its children behind.
ProctrackType=proctrack/pgid
# No cgroups: the memory of a step is looked at every second.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=5,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
# To the node with the least load: jobs that run at the same time are on several nodes.
SelectTypeParameters=CR_CPU_Memory,CR_LLN
EnforcePartLimits=ALL
# Nodes claim more than this machine has.
SlurmdParameters=config_overrides
ReturnToService=2
# A dead node is noticed after this many seconds; a shorter time takes a busy machine for a dead one.
SlurmdTimeout=20
MessageTimeout=10
KillWait=2
MinJobAge=300
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={self._dbd_port}
AccountingStoragePass={munge_socket}
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
GresTypes=gpu
{nodes}
PartitionName=processors Nodes=ALL Default=YES MaxTime=1-0 DefaultTime=5 State=UP
PartitionName=graphics Nodes=ALL MaxTime=1-0 DefaultTime=5 State=UP
"""
        )
        # Each GPU is a link to a character device: what SLURM wants before it tells a job which GPU it got.
        for number in range(GPUS_PER_NODE):
            (folder / f"gpu/{number}").symlink_to("/dev/null")
        (etc / "gres.conf").write_text(
            f"AutoDetect=off\nNodeName={','.join(NODES)} Name=gpu Type=fake File={folder}/gpu/[0-{GPUS_PER_NODE - 1}]\n"
        )
        # The executor's job step drops SLURM_CONF before it calls srun, which would then look for /etc/slurm.
        srun = folder / "bin/srun"
        real = shutil.which("srun", path=_search_path())
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={etc}/slurm.conf exec {real} "$@"\n')
        srun.chmod(0o755)


def _descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            yield child
            yield from _descendants(child)

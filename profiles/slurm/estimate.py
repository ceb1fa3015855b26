"""What a run on the cluster would submit, counted from a dry-run; needs neither SLURM nor a GPU.

    uv run python profiles/slurm/estimate.py [arguments of snakemake, e.g. --configfile my.yaml]

GPU hours are those that are reserved: time limits of first attempts, which follow from `tokens_per_second` of the
configuration. Jobs that end sooner give the rest back.
"""

import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Need:
    """What the jobs of one rule need: `jobs` of them, in `submissions` to SLURM (0: they run on the login node)."""

    jobs: int = 0
    submissions: int = 0
    gpu_minutes: int = 0
    cpu_minutes: int = 0


def local_rules() -> set[str]:
    """Rules that run on the login node. A dry-run does not tell them apart."""
    files = [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]
    text = "\n".join(file.read_text() for file in files)
    listed = re.findall(r"^localrules:\n((?: +\w+,\n)+)", text, flags=re.MULTILINE)
    rules = re.split(r"^rule ", text, flags=re.MULTILINE)[1:]
    targets = {rule.partition(":")[0] for rule in rules if "\n    localrule: True\n" in rule}
    return targets | {name for names in listed for name in re.findall(r"\w+", names)}


def count(lines: Iterable[str], local: set[str]) -> dict[str, Need]:
    """Needs by rule, from the lines that `snakemake --dry-run --quiet host` prints; `local` are the local rules."""
    needs: dict[str, Need] = {}
    opens_group = False
    for line in lines:
        if "Group job " in line:
            opens_group = True
        elif match := re.fullmatch(r"(\s*)rule (\w+):", line):
            indent, rule = match.groups()
            need = needs.setdefault(rule, Need())
            need.jobs += 1
            # The jobs of a group are indented, and submitted as one.
            need.submissions += rule not in local and (opens_group or not indent)
            opens_group = False
        elif line.strip().startswith("resources: ") and rule not in local:
            resources = dict(re.findall(r"(\w+)=(\d+)(?=,|$)", line))
            minutes = int(resources.get("runtime", 0))
            gpus = int(resources.get("gpu", 0))
            need.gpu_minutes += minutes * gpus
            need.cpu_minutes += minutes * (not gpus)
    return needs


def main() -> None:
    """Print the table."""
    # What comes behind -- are targets.
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", "--dry-run", "--quiet=host"]
    run = subprocess.run([*command, *sys.argv[1:]], capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(run.stderr or run.stdout)
    needs = count((run.stdout + run.stderr).splitlines(), local_rules())
    total = Need(*(sum(getattr(need, key) for need in needs.values()) for key in vars(Need())))
    print(f"{'rule':<24}{'jobs':>8}{'submitted':>12}{'GPU hours':>12}{'CPU hours':>12}")
    for rule, need in [*needs.items(), ("total", total)]:
        hours = f"{need.gpu_minutes / 60:>12.1f}{need.cpu_minutes / 60:>12.1f}"
        print(f"{rule:<24}{need.jobs:>8}{need.submissions or '-':>12}{hours}")


if __name__ == "__main__":
    main()

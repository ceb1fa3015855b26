"""On a cluster, and what a run says at its end."""

if workflow.remote_exec:
    # Snakemake does not hand --keep-going on to its jobs, and has no option for it. Without it, a shard that fails
    # would keep the shards that are packed with it from running.
    JobScheduler.keepgoing = property(lambda self: True, lambda self, value: None)


def refuse_orphans():
    """Stop before the first job if jobs of a killed run still work in this folder: they would write the same files."""
    if workflow.local_exec:
        return
    recover = Path(workflow.basedir) / "profiles/slurm/recover.sh"
    orphans = subprocess.run([recover, "--list"], capture_output=True, text=True, check=True).stdout.split()
    if orphans:
        raise WorkflowError(
            f"{len(orphans)} jobs of an earlier run still work in this folder ({' '.join(orphans[:10])}); "
            "cancel them with profiles/slurm/recover.sh or wait for their end, then start again"
        )


# ------------------------------------------------------------------------------------------------------------ messages


def where_to_look():
    places = {f"results/tables/{table.shown}": table.look for table in tables.ALL if table.look}
    places |= {
        f"results/figures/{figure.place}": figure.look
        for figure in (*figures.FIGURES.values(), figures.SWEEP, figures.LISTENING)
    }
    places |= {
        "results/report/run.html": "what was run: coverage, time and memory, versions, configuration",
        "results/tiny_models/": "retrained models with their cards and scores",
        "results/checks/": "how far the engine is from each model's own code",
        "results/checkpoints/": "converted checkpoints with their licences",
        "results/fetched_models/": "files of fetched checkpoints with their digests",
        "results/performance/": "time and peak memory of every job",
        "results/logs/": "one log per job",
    }
    lines = [f"  {path:<34}  {what}\n" for path, what in places.items() if os.path.exists(path)]
    return "\nDone. Look at\n" + "".join(lines)


def failed_jobs():
    """Two lines per job whose inputs are there and whose outputs are not: which it is, and the last line of its log."""
    lines = []
    for job in sorted(workflow.dag.needrun_jobs(), key=str):
        missing = [path for path in job.output if not os.path.exists(path)]
        if missing and all(map(os.path.exists, job.input)):
            limits = f"{job.resources.get('runtime')} min, {job.resources.get('mem_mb')} MB, attempt {job.attempt}"
            lines.append(
                f"    {job.rule.name} {missing[0]}  ({limits}; log: {job.log[0]})\n      {last_line(job.log[0])}\n"
            )
    return lines


def last_line(log):
    """What a job said last: the sentence that it ended with, if it came to say one."""
    if not os.path.exists(log):
        return "It left no log: the run ended before it, or it could not be started"
    lines = Path(log).read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "Its log is empty: it was ended from outside")
    return re.sub(r"^\d\d:\d\d:\d\d ERROR ", "", last.strip())


def ended_by_slurm():
    if workflow.local_exec:
        return ""
    return "            (where a limit or scancel ended the job, .snakemake/slurm_logs/<rule or group>/ says so)\n"


def full_disk():
    # A job whose log is on the full disk, too, may not have been able to say it.
    free = shutil.disk_usage("results").free // 1_000_000 if os.path.exists("results") else math.inf
    if free >= 10:
        return ""
    return f"  Disk:     results/ is full ({free} MB free); make room first\n"


def what_to_do(log):
    failed = failed_jobs()
    return (
        "\nThe run stopped before its end; nothing finished is lost.\n"
        f"  All:      {' '.join(log)}\n"
        f"{full_disk()}"
        "  Go on:    the same command again; it continues where it stopped\n"
        f"  Missing:  {len(failed)} results whose inputs are there (limits of the last attempt), and how their logs end\n"
        f"{ended_by_slurm()}"
        f"{''.join(failed[:20])}{'    ...' + chr(10) if len(failed) > 20 else ''}"
    )


def without_command(record):
    """Take a failed command, with all its settings, out of a message; `--quiet host --printshellcmds` shows it."""
    if isinstance(record.msg, str):
        record.msg = re.sub(r"(?s)Command '.*set -euo pipefail;.*' (returned|died)", r"Its command \1", record.msg)
    return True


logger.addFilter(without_command)

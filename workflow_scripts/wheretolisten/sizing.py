"""What a job asks of the machine, from what it has to do. Pure functions; the rules in `rules/` call them."""

_OVERHEAD_MB = 2500
"""Python, torch and one batch of a small model, in MB (measured: about 1 GB; the rest is headroom)."""


def memory_mb(weight_bytes: int, attempt: int) -> int:
    """Main memory of a job that loads a model, in MB: the weights once, overhead, half as much again per retry."""
    return int((weight_bytes / 1e6 + _OVERHEAD_MB) * (1 + 0.5 * (attempt - 1)))


def runtime_minutes(audio_seconds: float, attempt: int) -> int:
    """Time limit of a job on a shard, in minutes: a tenth of the audio's duration and a quarter hour to start up.

    Doubled with every retry. A guess that is generous for a GPU and for the tiny models on a CPU; profiles override it.
    """
    return int((15 + audio_seconds / 600) * 2 ** (attempt - 1))


def doubled(amount: int, attempt: int) -> int:
    """Memory (MB) or time limit (minutes) of a job without a model: `amount`, doubled with every retry."""
    return amount * 2 ** (attempt - 1)


def gpus(device: str) -> int:
    """GPUs of a job that loads a model, from the model's `device`: none for cpu, else one.

    A number without meaning on one machine, where Snakemake limits no resource that it was not given; on a cluster it
    chooses the partition.
    """
    return 0 if device == "cpu" else 1

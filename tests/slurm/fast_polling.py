"""Snakemake, looking at its SLURM jobs every second.

The executor waits ten seconds longer after each look that found nothing, up to three minutes, and has no option against
it. That is kind to a cluster and slow for tests.
"""

import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

chosen = RemoteExecutor.next_seconds_between_status_checks
RemoteExecutor.next_seconds_between_status_checks = property(lambda self: min(1, chosen.fget(self)), chosen.fset)

if __name__ == "__main__":
    sys.exit(main())

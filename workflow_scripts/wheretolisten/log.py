"""Logging of scripts: one format, to stderr, which the rule redirects into the job's log file."""

import logging
import sys
from collections.abc import Callable

from wheretolisten.errors import UserError


def start(name: str) -> logging.Logger:
    """Configure logging for a script and return its logger."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    return logging.getLogger(name)


def run(main: Callable[[], None]) -> None:
    """Run a script's `main`; a `UserError` ends it with its one sentence and exit status 1, without a traceback."""
    try:
        main()
    except UserError as error:
        logging.getLogger().error("%s", error)
        sys.exit(1)

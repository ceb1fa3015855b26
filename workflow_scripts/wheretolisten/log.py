"""Logging of scripts: one format, to stderr, which the rule redirects into the job's log file."""

import gc
import logging
import sys
from collections.abc import Callable

from wheretolisten.errors import UserError
from wheretolisten.files import refusal


def start(name: str) -> logging.Logger:
    """Configure logging for a script and return its logger."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    return logging.getLogger(name)


def run(main: Callable[[], None]) -> None:
    """Run a script's `main`; a `UserError` ends it with its one sentence and exit status 1, without a traceback.

    So does an error of the operating system that names a file. What was imported is kept from the garbage collector,
    which has nothing to find there (`start.py`).
    """
    gc.freeze()
    gc.enable()
    try:
        main()
    except UserError as error:
        sentence = error
    except OSError as error:
        # One that names no file is a bug of ours.
        sentence = refusal(error.filename, error, "used") if isinstance(error.filename, str) else None
        if sentence is None:
            raise
    else:
        return
    finally:
        # Python ends in its own way after an error, and libraries would call what is kept leaked.
        gc.unfreeze()
    logging.getLogger().error("%s", sentence)
    sys.exit(1)

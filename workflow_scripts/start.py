"""Run a script as Python would, but start and end cheaply: every job of a workflow is a Python of its own.

A script that loads torch and transformers imports some 3,500 modules. What they leave behind lives as long as the
process, so that the garbage collector looks through it in vain (a fifth of the time to import), and taking it apart at
the end, object by object, takes a second more.
"""

import atexit
import gc
import os
import runpy
import sys


def main() -> None:
    """Run the script named by the first argument with the others."""
    gc.disable()  # log.run enables it once all is imported
    del sys.argv[0]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")
    # Only a script that succeeded comes here; an error ends Python in its own way.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()

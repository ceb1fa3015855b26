"""Figures from tables and cached attention. Importing this package imports matplotlib, free of the user's settings.

A notebook's MPLBACKEND may name a backend that a job does not have, and then matplotlib cannot be imported; a
matplotlibrc in the working directory, in MATPLOTLIBRC or in the user's configuration would change what is drawn. A
package is imported before its modules, so that none of them can import matplotlib earlier.
"""

import contextlib
import os
from pathlib import Path

os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
# The one in the working directory comes before all others, and there is none here.
with contextlib.chdir(Path(__file__).parent):
    import matplotlib

# Where matplotlib was there before, as in a notebook.
matplotlib.use("agg")

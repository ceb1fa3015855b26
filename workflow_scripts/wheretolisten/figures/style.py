"""One look for all figures: sizes of a two-column paper, colours that colour-blind readers tell apart."""

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

from wheretolisten.files import atomic_path

# Embedding a font is worth no line in a log, let alone fifty.
logging.getLogger("fontTools").setLevel(logging.WARNING)

PAGE_WIDTH = 7.0
"""Width across both columns of a paper, in inches."""

COLUMN_WIDTH = 3.5
"""Width of one column, in inches."""

# Okabe and Ito's palette.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#808080"

LIGHT_GREY = "#BBBBBB"
"""For controls: to red-green-blind eyes GREY looks much like GREEN, this does not."""

METHOD_COLOURS = {
    "random": GREY,
    "direct_prompt": ORANGE,
    "prompt_only": SKY,
    "steering_random_direction": LIGHT_GREY,
    "steering_sample": BLUE,
    "steering_label_mean": GREEN,
}

_FURTHER_COLOURS = (VERMILLION, PURPLE, "#F0E442", "#332288", "#882255", "#44AA99", "#999933", "#661100")
"""For methods that have no colour of their own; the last ones are from Tol's muted palette."""

_SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib, so figures look alike on every machine
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.title_fontsize": 7.5,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.1,
    "pdf.fonttype": 42,  # text stays text
    "figure.constrained_layout.use": True,
}


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """Method → colour: its own for those of `METHOD_COLOURS`, for others from a further list, in the order given."""
    others = [method for method in methods if method not in METHOD_COLOURS]
    return METHOD_COLOURS | dict(zip(others, itertools.cycle(_FURTHER_COLOURS)))


def apply() -> None:
    """Set matplotlib's global settings; every figure function starts with it."""
    sns.set_theme(style="ticks", rc=_SETTINGS)


def save(figure: Figure, pdf: str | Path, png: str | Path) -> None:
    """Write a figure as PDF and as PNG (300 dpi) atomically and close it.

    Neither file holds a date or a version, so equal figures are equal files.
    """
    with atomic_path(pdf) as path:
        figure.savefig(path, format="pdf", dpi=300, metadata={"CreationDate": None, "Creator": None, "Producer": None})
    with atomic_path(png) as path:
        figure.savefig(path, format="png", dpi=300, metadata={"Software": None})
    plt.close(figure)

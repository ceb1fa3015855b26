"""One look for all figures: sizes of a two-column paper, colours that colour-blind readers tell apart."""

import itertools
import logging
import string
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text

from wheretolisten.files import atomic_path

_log = logging.getLogger(__name__)

# Embedding a font is worth no line in a log, let alone fifty.
logging.getLogger("fontTools").setLevel(logging.WARNING)
# `save` says once which characters no font has; matplotlib says it for every one of them and wherever it is measured.
warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font")

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
    "frame_probe": BLACK,
    "prompt_only": SKY,
    "prompt_matched": PURPLE,
    "steering_random_direction": LIGHT_GREY,
    "steering_sample": BLUE,
    "steering_label_mean": GREEN,
    "steering_matched": VERMILLION,
}

ARM_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, "#882255", "#999933")
"""For arms of studies of effects, in their order."""

CONTROL_ARMS = ("random", "shuffled")
"""How the names of controls among arms begin."""

_FURTHER_COLOURS = ("#882255", "#44AA99", "#332288", "#999933", "#661100", "#F0E442", "#6699CC", "#DDCC77")
"""For methods that have no colour of their own; most are from Tol's muted palette."""

_FONT = "DejaVu Sans"  # ships with matplotlib, so figures look alike on every machine
_FURTHER_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC", "Source Han Sans SC"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans"),
    *("Apple SD Gothic Neo", "Microsoft YaHei", "SimHei", "Yu Gothic", "Malgun Gothic", "Arial Unicode MS"),
    *("Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Emoji", "Symbola"),
)  # for characters that the first one lacks, where they are installed

_SETTINGS = {
    "font.family": "sans-serif",
    "text.parse_math": False,  # a label may hold dollar signs; what we write needs no formula
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
    # Whatever else was set in this process, by a notebook or by a matplotlibrc that it read.
    matplotlib.rcdefaults()
    sns.set_theme(style="ticks", rc=_SETTINGS | {"font.sans-serif": _fonts()})


def _fonts() -> list[str]:
    installed = set(font_manager.get_font_names())
    return [_FONT, *(font for font in _FURTHER_FONTS if font in installed)]


def wrap(figure: Figure, text: str, font: FontProperties, width: float, max_lines: int | None = None) -> list[str]:
    """Lines of a text that are at most `width` inches wide in a figure; see `break_lines`."""
    renderer = figure.canvas.get_renderer()

    def fits(line: str) -> bool:
        size, _, _ = renderer.get_text_width_height_descent(line, font, ismath=False)
        # Hinting makes letters a little wider or narrower at another resolution.
        return 1.02 * size / figure.dpi <= width

    return break_lines(text, fits, max_lines)


def break_lines(text: str, fits: Callable[[str], bool], max_lines: int | None = None) -> list[str]:
    """Lines of a text, each of which `fits`, broken at white space where that is possible; one at least.

    Where there are more than `max_lines`, the last one ends in an ellipsis.
    """
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".lstrip()
        if fits(joined):
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        while not fits(word) and len(word) > 1:
            n = 1  # at least one character, or there would be no end
            while fits(word[: n + 1]):
                n += 1
            lines[-1], word = word[:n], word[n:]
            lines.append("")
        lines[-1] = word
    if max_lines is not None and len(lines) > max_lines:
        lines = lines[:max_lines]
        while lines[-1] and not fits(lines[-1] + "…"):
            lines[-1] = lines[-1][:-1]
        lines[-1] = lines[-1].rstrip() + "…"
    return lines


def fit_into(text: Text, width: float, height: float) -> bool:
    """Make a text smaller, down to 5 points, and break it into lines until it fits, `width` and `height` in inches.

    Returns whether it does; where it does not, it ends in an ellipsis.
    """
    figure, words = text.figure, text.get_text()
    for size in np.arange(text.get_fontsize(), 4.9, -0.5):
        text.set_fontsize(size)
        lines = wrap(figure, words, text.get_fontproperties(), width)
        max_lines = max(1, int(72 * height / (1.1 * size)))
        if len(lines) <= max_lines and " ".join(lines).split() == words.split():  # no word is broken
            break
    text.set_text("\n".join(wrap(figure, words, text.get_fontproperties(), width, max_lines)))
    if len(lines) > 1:  # one line would stand higher or lower, as it has descenders or not
        text.set_linespacing(0.9)
    return len(lines) <= max_lines


def fit_titles(figure: Figure) -> None:
    """Break the titles of a figure and of its panels into lines, so that none is cut off or runs into another one.

    The figure grows by what further lines need.
    """
    figure.draw_without_rendering()  # now it is known where panels are
    figure_width = figure.get_figwidth()
    middles = {axis: figure_width * np.mean(axis.get_position().intervalx) for axis in figure.axes if axis.get_title()}
    rooms = {figure._suptitle: figure_width} if figure.get_suptitle() else {}
    for axis, middle in middles.items():
        beside = [abs(middle - other) for other in middles.values() if abs(middle - other) > 0.1]
        rooms[axis.title] = min(2 * middle, 2 * (figure_width - middle), *beside)
    further = {}
    for title, room in rooms.items():
        lines = wrap(figure, title.get_text(), title.get_fontproperties(), room - 0.1)
        title.set_text("\n".join(lines))
        further[title] = (len(lines) - 1) * 1.2 * title.get_fontsize() / 72
    of_figure, of_panels = further.pop(figure._suptitle, 0), max(further.values(), default=0)
    figure.set_figheight(figure.get_figheight() + of_figure + of_panels)


def save(figure: Figure, pdf: str | Path, png: str | Path) -> None:
    """Write a figure as PDF and as PNG (300 dpi) atomically and close it.

    Neither file holds a date or a version, so equal figures are equal files. Characters that no font has are drawn as
    boxes and named in the log.
    """
    missing = sorted(_characters(figure) - _drawable())
    if missing:
        _log.warning(
            "%s: no font at hand has the characters %s, so boxes are drawn for them; install one that has, for "
            "instance %s, and draw the figure again",
            *(pdf, " ".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in missing), _FURTHER_FONTS[0]),
        )
    with atomic_path(pdf) as path:
        figure.savefig(path, format="pdf", dpi=300, metadata={"CreationDate": None, "Creator": None, "Producer": None})
    with atomic_path(png) as path:
        figure.savefig(path, format="png", dpi=300, metadata={"Software": None})
    plt.close(figure)


def _characters(figure: Figure) -> set[str]:
    texts = (text.get_text() for text in figure.findobj(Text) if text.get_visible())
    return set().union(*texts) - set(string.whitespace)


def _drawable() -> set[str]:
    files = (font_manager.findfont(FontProperties(family=font)) for font in _fonts())
    return {chr(code) for file in files for code in font_manager.get_font(file).get_charmap()}


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    """A colour for each arm of a study of effects; controls are grey."""
    others = [arm for arm in arms if not arm.startswith(CONTROL_ARMS)]
    greys = dict.fromkeys(arms, LIGHT_GREY)
    return greys | {arm: ARM_COLOURS[number % len(ARM_COLOURS)] for number, arm in enumerate(others)}

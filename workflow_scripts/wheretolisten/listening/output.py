"""What listen.py writes: JSON, a table, labels for Audacity and Praat, a figure; and what it prints."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from praatio.data_classes.interval_tier import Interval, IntervalTier
from praatio.textgrid import Textgrid

from wheretolisten.files import atomic_path, write_text

COLUMNS = ("file", "sound", "heard", "onset", "offset", "score", "threshold", "p_value")
"""Columns of listen.csv: one row per interval, and one of each sound that is not heard; times in seconds."""


def write(found: Mapping[str, Any], folder: Path) -> None:
    """Write listen.json, listen.csv, listen.txt (Audacity: File, Import, Labels) and listen.TextGrid (Praat, ELAN).

    Raises
    ------
    UserError
        If it cannot be written.
    """
    write_text(folder / "listen.json", json.dumps(found, ensure_ascii=False) + "\n")
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows(found))
    write_text(folder / "listen.csv", table.getvalue())
    write_text(folder / "listen.txt", labels(found))
    with atomic_path(folder / "listen.TextGrid") as path:
        text_grid(found).save(str(path), "long_textgrid", includeBlankSpaces=True)


def rows(found: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Rows of `COLUMNS`, sound by sound in order of time."""
    every = []
    for sound in found["sounds"]:
        end = (sound["threshold"], sound["p_value"])
        for interval in sound["intervals"]:
            times = (interval["onset"], interval["offset"], interval["score"])
            every.append((found["file"], sound["name"], True, *times, *end))
        if not sound["heard"]:
            every.append((found["file"], sound["name"], False, "", "", sound["score"], *end))
    return every


def labels(found: Mapping[str, Any]) -> str:
    """A label track: onset, offset and sound of every interval, by tabulators, in order of time."""
    intervals = [
        (each["onset"], each["offset"], sound["name"]) for sound in found["sounds"] for each in sound["intervals"]
    ]
    return "".join(f"{onset:.3f}\t{offset:.3f}\t{name}\n" for onset, offset, name in sorted(intervals))


def text_grid(found: Mapping[str, Any]) -> Textgrid:
    """A tier for every sound, with its intervals."""
    grid = Textgrid(0, found["seconds"])
    for sound in found["sounds"]:
        intervals = [
            Interval(each["onset"], min(each["offset"], found["seconds"]), sound["name"])
            for each in sorted(sound["intervals"], key=itemgetter("onset"))
        ]
        grid.addTier(IntervalTier(sound["name"], intervals, 0, found["seconds"]))
    return grid


def told(found: Mapping[str, Any], listing: bool) -> str:
    """What is printed: a line for every interval, and for every sound that is not heard.

    Parameters
    ----------
    listing
        Nobody asked about single sounds: those that are not heard are left out.
    """
    sounds = [sound for sound in found["sounds"] if sound["heard"] or not listing]
    if listing:
        sounds.sort(key=lambda sound: sound["intervals"][0]["onset"])
    lines = [("sound", "from", "to", "score", "p")]
    for sound in sounds:
        p_value = f"{sound['p_value']:.2f}"
        for interval in sound["intervals"]:
            strength = f"{interval['score'] / sound['threshold']:.1f}"
            lines.append((sound["name"], clock(interval["onset"]), clock(interval["offset"]), strength, p_value))
        if not sound["heard"]:
            strength = f"{sound['score'] / sound['threshold']:.1f}" if sound["threshold"] else "0.0"
            lines.append((sound["name"], "not heard", "", strength, p_value))
    if len(lines) == 1:
        return "nothing stands out"
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width) in enumerate(cells))
        for cells in (list(zip(line, widths, strict=True)) for line in lines)
    )


def clock(seconds: float) -> str:
    """Seconds as 0:12.3, 3:05.2 or 1:02:03.4."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest / 10:04.1f}"
    return f"{minutes}:{rest / 10:04.1f}"


def draw(found: Mapping[str, Any], names: Sequence[str], folder: Path) -> None:
    """Write listen.png and listen.pdf: by how much attention grows for each sound, and what is heard.

    Parameters
    ----------
    names
        Sounds that are drawn, one strip each.
    """
    from wheretolisten.figures import style  # isort: skip  # drawn after the answer, which need not wait for it
    import matplotlib.pyplot as plt

    style.apply()
    sounds = [sound for sound in found["sounds"] if sound["name"] in names]
    size = (style.PAGE_WIDTH, 0.6 + 0.7 * len(sounds))
    figure, axes = plt.subplots(len(sounds), 1, sharex=True, squeeze=False, figsize=size)
    for axis, sound in zip(axes[:, 0], sounds, strict=True):
        for interval in sound["intervals"]:
            axis.axvspan(interval["onset"], interval["offset"], color=style.SKY, alpha=0.5, linewidth=0)
        axis.plot(sound["curve"]["seconds"], sound["curve"]["change"], color=style.BLUE)
        axis.axhline(0, color=style.GREY, linewidth=0.5)
        axis.set_ylabel(sound["name"] if sound["heard"] else f"{sound['name']}\n(not heard)")
        axis.set_ylabel(axis.get_ylabel(), rotation=0, ha="right", va="center")
    axes[-1, 0].set_xlim(0, found["seconds"])
    axes[-1, 0].set_xlabel("Time (s)")
    figure.suptitle("Attention when asked about the sound, over that for other sounds (doublings)", fontsize=9)
    style.save(figure, folder / "listen.pdf", folder / "listen.png")

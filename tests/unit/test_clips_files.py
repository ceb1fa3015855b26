"""Clips made from files: three layouts, every format, and files that cannot serve."""

import io
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wheretolisten.clips.decode import BadFileError, decode
from wheretolisten.clips.library import prepare
from wheretolisten.clips.listing import AUDIO_SUFFIXES, check_names, list_entries, list_files
from wheretolisten.clips.pcm import read_clip
from wheretolisten.clips.records import Clip
from wheretolisten.config.examples import Composition
from wheretolisten.config.labels import clean_label
from wheretolisten.config.prompts import Wording
from wheretolisten.config.sounds import Esc50Library, FolderLibrary, SakuraLibrary
from wheretolisten.errors import UserError
from wheretolisten.examples.composition import Composer
from wheretolisten.examples.cutting import cut_where_heard

RATE = 16_000


def tone(seconds: float = 1.0, rate: int = RATE, frequency: float = 440.0) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def write(path: Path, signal: np.ndarray | None = None, rate: int = RATE, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone() if signal is None else signal, rate, **options)
    return path


@pytest.fixture
def sounds(tmp_path) -> Path:
    """A folder library of three labels with two good files each."""
    root = tmp_path / "sounds"
    for label in ("dog", "door_bell", "rain"):
        for name in ("a.wav", "b.FLAC"):
            write(root / label / name, format="FLAC" if name.endswith("FLAC") else None)
    return root


def folder_library(root: Path, **options) -> FolderLibrary:
    return FolderLibrary(type="folder", path=str(root), **options)


def labels_of(clips: list[Clip]) -> list[str]:
    return sorted({clip.label for clip in clips})


def test_a_folder_becomes_clips_in_a_fixed_order(sounds, tmp_path):
    write(sounds / "rain" / "c.ogg")
    write(sounds / ".cache" / "x.wav")
    (sounds / "rain" / "notes.txt").write_text("not a clip")
    clips = prepare(folder_library(sounds), tmp_path / "audio")
    assert [clip.source for clip in clips] == [
        *("dog/a.wav", "dog/b.FLAC", "door_bell/a.wav", "door_bell/b.FLAC", "rain/a.wav", "rain/b.FLAC", "rain/c.ogg")
    ]
    assert labels_of(clips) == ["dog", "door bell", "rain"]
    assert {clip.domain for clip in clips} == {"sounds"}
    assert len({clip.clip_id for clip in clips}) == 7
    assert clips == prepare(folder_library(sounds), tmp_path / "audio")
    for clip in clips:
        assert len(read_clip(clip, tmp_path)) == clip.n_frames == RATE


def test_clip_ids_stay_when_files_are_added(sounds, tmp_path):
    before = {clip.clip_id: clip for clip in prepare(folder_library(sounds), tmp_path / "audio")}
    write(sounds / "dog" / "0.wav")
    after = {clip.clip_id: clip for clip in prepare(folder_library(sounds), tmp_path / "audio")}
    assert before.items() <= after.items()


def test_domains_choose_and_group_labels(sounds, tmp_path):
    write(sounds / "cat" / "a.wav")
    domains = {"animals": ["dog"], "home": ["door_bell", "rain"]}
    clips = prepare(folder_library(sounds, domains=domains), tmp_path / "audio")
    assert {clip.label: clip.domain for clip in clips} == {"dog": "animals", "door bell": "home", "rain": "home"}


@pytest.mark.parametrize(
    ("domains", "message"),
    [
        ({"animals": ["wolf"]}, r"no label 'wolf'.*dog, door bell, rain"),
        ({"home": ["doorbell"]}, r"no label 'doorbell'; did you mean 'door bell'\?"),
        ({"animals": ["Dog"]}, r"no label 'Dog'; did you mean 'dog'\?"),
    ],
)
def test_domains_that_do_not_fit_are_refused(sounds, tmp_path, domains, message):
    with pytest.raises(UserError, match=message):
        prepare(folder_library(sounds, domains=domains), tmp_path / "audio")


@pytest.mark.parametrize(
    ("rate", "channels", "options"),
    [
        (192_000, 8, {"subtype": "PCM_24"}),
        (44_100, 2, {"subtype": "FLOAT"}),
        (8_000, 1, {"subtype": "PCM_U8"}),
        (11_025, 1, {"subtype": "ULAW"}),
    ],
)
def test_any_rate_and_number_of_channels_becomes_16_khz_mono(sounds, tmp_path, rate, channels, options):
    wave = np.repeat(tone(1.5, rate)[:, None], channels, axis=1)
    write(sounds / "dog" / "odd.wav", wave, rate, **options)
    clips = prepare(folder_library(sounds, on_bad_file="refuse"), tmp_path / "audio")
    clip = next(clip for clip in clips if clip.source == "dog/odd.wav")
    assert clip.n_frames == pytest.approx(1.5 * RATE, abs=1)
    heard = read_clip(clip, tmp_path)[2_000:-2_000] / 32_768
    expected = tone(1.5)[2_000 : 2_000 + len(heard)]
    assert np.abs(heard - expected).max() < 0.02


def test_float_audio_beyond_full_scale_is_scaled_not_clipped(sounds, tmp_path):
    write(sounds / "dog" / "loud.wav", 20 * tone(), subtype="FLOAT")
    clips = prepare(folder_library(sounds), tmp_path / "audio")
    heard = read_clip(next(clip for clip in clips if clip.source == "dog/loud.wav"), tmp_path)
    assert np.abs(heard / 32_768 - tone() / 0.3).max() < 1e-3


def make_truncated(path: Path) -> None:
    data = write(path).read_bytes()
    path.write_bytes(data[:20])


def encoded(signal: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, signal, RATE, **options)
    return file.getvalue()


def cut_off(share: float, signal: np.ndarray | None = None, **options):
    """Maker of a file that breaks off after a `share` of its bytes."""

    def make(path: Path) -> None:
        data = encoded(tone(2) if signal is None else signal, **options)
        path.write_bytes(data[: int(share * len(data))])

    return make


NOISE = np.random.default_rng(0).integers(-9_000, 9_000, 2 * RATE, dtype=np.int16)
STEP = np.repeat([0.2, -0.2], RATE)


BAD_FILES = {
    "is empty": lambda path: path.write_bytes(b""),
    "cannot be read as audio": lambda path: path.write_bytes(b"this is no sound at all" * 20),
    "cannot be read": make_truncated,
    "is not a file": lambda path: path.mkdir(),
    "does not exist": lambda path: path.symlink_to(path.parent / "nowhere.wav"),
    "not finite": lambda path: write(path, np.where(np.arange(RATE) == 500, np.nan, tone()), subtype="FLOAT"),
    "infinity": lambda path: write(path, np.where(np.arange(RATE) == 500, np.inf, tone()), subtype="FLOAT"),
    "is silent": lambda path: write(path, np.zeros(RATE)),
    "wav is silent": lambda path: write(path, np.full(RATE, 0.2)),  # a constant is no sound
    "nearly silent: 0.02 s of it can be heard, less than 0.1 s": lambda path: write(
        path, 1.0 * (np.arange(RATE) == 5_000)
    ),
    "nearly silent": lambda path: write(path, STEP, 44_100),
    "its channels cancel each other": lambda path: write(path, np.stack([tone(), -tone()], axis=1)),
    "channels cancel each other, so keep one of them": lambda path: write(
        path, np.stack([0.1 + tone(), 0.2 - 0.999 * tone()], axis=1)
    ),
    "header promises 2.00 s, and the file holds 1.00 s": cut_off(0.5, format="WAV", subtype="FLOAT"),
    "cut off: its header promises 2.00 s": cut_off(0.5, NOISE, format="FLAC"),
    "promises 2.00 s, and the file holds 1.50 s": cut_off(0.75, format="AIFF"),
    "holds 1.50 s": cut_off(0.75, format="RF64"),
    "is cut off": cut_off(0.5, format="AU"),
    "lasts 0.25 s": lambda path: write(path, tone(0.25)),
    "lasts 0.00 s": lambda path: write(path, np.zeros(0)),
    "sampling rate of 10 Hz": lambda path: write(path, tone(5, 10), 10),
}


def test_a_knock_does_not_make_the_sound_around_it_silent(tmp_path):
    faint = 0.003 * np.sin(2 * np.pi * 440 * np.arange(5 * RATE) / RATE)
    faint[RATE : RATE + 320] = 0.9
    write(tmp_path / "a.wav", faint)
    assert len(decode(tmp_path / "a.wav", 1.0)) == 5 * RATE


@pytest.mark.parametrize("reason", BAD_FILES)
def test_a_bad_file_is_named_and_skipped_or_refused(sounds, tmp_path, caplog, reason):
    path = sounds / "dog" / "bad.wav"
    BAD_FILES[reason](path)
    with caplog.at_level(logging.INFO):
        clips = prepare(folder_library(sounds), tmp_path / "audio")
    assert len(clips) == 6
    warning = next(record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert str(path) in warning
    assert reason in warning
    assert "1 of 7 files skipped" in caplog.text
    with pytest.raises(UserError, match=r"bad\.wav.*on_bad_file: skip"):
        prepare(folder_library(sounds, on_bad_file="refuse"), tmp_path / "audio")


def test_a_file_that_was_written_into_a_pipe_is_read_to_its_end(tmp_path):
    # Who writes into a pipe cannot go back to fill in the length.
    flac = bytearray(encoded(NOISE, format="FLAC"))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    files = {"flac": flac}
    for size in (0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        wav = bytearray(encoded(NOISE, format="WAV", subtype="PCM_16"))
        wav[4:8] = wav[40:44] = size.to_bytes(4, "little")
        files[f"wav, size {size:#x}"] = wav
    for name, content in files.items():
        (tmp_path / "piped").write_bytes(content)
        np.testing.assert_array_equal(decode(tmp_path / "piped", 0.5), NOISE, err_msg=name)
    # A size of 0 that is true: nothing follows, or another chunk.
    for rest in (b"", b"LIST\4\0\0\0INFO"):
        (tmp_path / "piped").write_bytes(files["wav, size 0x0"][:44] + rest)
        with pytest.raises(BadFileError, match=r"lasts 0\.00 s"):
            decode(tmp_path / "piped", 0.5)


def test_a_header_that_is_a_few_frames_off_is_forgiven(tmp_path):
    cut_off(0.999, format="WAV")(tmp_path / "x.wav")
    assert len(decode(tmp_path / "x.wav", 0.5)) == pytest.approx(2 * RATE, abs=50)


@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), bytes(5_000)])
def test_what_stands_behind_the_audio_is_no_part_of_it(tmp_path, tail):
    soundfile.write(tmp_path / "x.flac", NOISE, RATE)
    with open(tmp_path / "x.flac", "ab") as file:
        file.write(tail)
    assert len(decode(tmp_path / "x.flac", 0.5)) == len(NOISE)


@pytest.mark.parametrize("label", ["a|b", "a\nb", "a\tb", "a\\b", "_"])
def test_a_label_that_tables_cannot_hold_is_bad(sounds, tmp_path, caplog, label):
    write(sounds / label / "a.wav")
    assert labels_of(prepare(folder_library(sounds), tmp_path / "audio")) == ["dog", "door bell", "rain"]
    assert "label" in caplog.text


SPELLINGS = {
    "composed and decomposed": ["caf\u00e9 noise", "cafe\u0301 noise"],
    "blanks": ["sea waves", "sea\u00a0waves ", " sea__waves", "sea \u2003waves\t", "sea\u200b waves\ufeff"],
}
ALIKE = {
    "case": ["Dog", "dog"],
    "an invisible letter": ["dog", "do\u200dg"],
    "a letter's case": ["Éclair", "e\u0301clair"],
    "another hyphen": ["dog-bark", "dog\u2011bark"],
    "wide letters": ["dog", "\uff44og"],
}
LAYOUTS = ("folder", "esc50", "sakura")


def library_of(layout: str, root: Path, labels: list[str]):
    """A library in any layout, of one file for each label."""
    root.mkdir()
    names = [f"{number}.wav" for number in range(len(labels))]
    for label, name in zip(labels, names, strict=True):
        write(root / label / name if layout == "folder" else root / name)
    if layout == "folder":
        return folder_library(root)
    columns = "filename,category" if layout == "esc50" else "file,attribute_label"
    rows = [f'{name},"{label}"' for label, name in zip(labels, names, strict=True)]
    (root / "metadata.csv").write_text("\n".join([columns, *rows]), encoding="utf-8")
    if layout == "esc50":
        return Esc50Library(type="esc50", csv=str(root / "metadata.csv"), audio=str(root))
    return SakuraLibrary(type="sakura", path=str(root.parent), tracks={"sounds": root.name})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_that_look_alike_are_one_or_refused_by_name(tmp_path, layout):
    for what, labels in SPELLINGS.items():
        entries = list_entries(library_of(layout, tmp_path / what, [*labels, "cat"]))
        assert {entry.label for entry in entries} == {clean_label(labels[0]), "cat"}
    for what, labels in ALIKE.items():
        with pytest.raises(UserError) as caught:
            list_entries(library_of(layout, tmp_path / what, [*labels, "cat"]))
        assert all(repr(clean_label(label)) in str(caught.value) for label in labels)
        assert "give them one spelling" in str(caught.value)


def test_files_behind_links_are_made_into_clips_and_watched(tmp_path):
    for label in ("dog", "cat", "rain"):
        write(tmp_path / "elsewhere" / label / "a.wav")
        (tmp_path / "sounds").mkdir(exist_ok=True)
        (tmp_path / "sounds" / label).symlink_to(tmp_path / "elsewhere" / label)
    (tmp_path / "sounds" / "dog" / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "sounds" / "loop").symlink_to(tmp_path / "sounds")
    (tmp_path / "sounds" / "rain" / "b.wav").symlink_to(tmp_path / "elsewhere/dog/a.wav")
    library = folder_library(tmp_path / "sounds")
    watched = [str(path.relative_to(tmp_path)) for path in list_files(library)]
    assert watched == ["sounds/cat/a.wav", "sounds/dog/a.wav", "sounds/rain/a.wav", "sounds/rain/b.wav"]
    assert [clip.source for clip in prepare(library, tmp_path / "audio")] == [
        name.partition("/")[2] for name in watched
    ]
    # Tables are watched, too, and of their audio what they list.
    (tmp_path / "SAKURA").symlink_to(tmp_path / "elsewhere")
    table = tmp_path / "elsewhere" / "dog" / "metadata.csv"
    table.write_text("file,attribute_label\na.wav,dog\nlost.wav,cat\n../cat/a.wav,cat\n")
    sakura = SakuraLibrary(type="sakura", path=str(tmp_path / "SAKURA"), tracks={"animals": "dog"})
    names = [str(path.relative_to(tmp_path / "SAKURA")) for path in list_files(sakura)]
    assert names == ["dog/a.wav", "dog/metadata.csv"]
    esc50 = Esc50Library(type="esc50", csv=str(table), audio=str(tmp_path / "SAKURA/dog"))
    table.write_text("filename,category\na.wav,dog\n")
    assert list_files(esc50) == [tmp_path / "SAKURA/dog/a.wav", table]


def test_every_format_of_libsndfile_is_taken_from_a_folder(sounds, tmp_path):
    formats = {name.lower() for name in soundfile.available_formats()}
    assert {f".{name}" for name in formats | {"aif", "opus", "snd", "wave"}} <= AUDIO_SUFFIXES
    names = ["AIFF", "AU", "CAF", "MP3", "W64", "RF64", "VOC", "NIST"]
    for name in names:
        write(sounds / "dog" / f"x.{name}", format=name)
    write(sounds / "dog" / "x.opus", format="OGG", subtype="OPUS")
    clips = prepare(folder_library(sounds, on_bad_file="refuse"), tmp_path / "audio")
    assert {f"dog/x.{name}" for name in [*names, "opus"]} <= {clip.source for clip in clips}


def test_a_file_name_that_is_no_text_is_bad(sounds, tmp_path, caplog):
    # Names on Linux are bytes; these are no UTF-8.
    os.rename(os.fsencode(sounds / "dog" / "a.wav"), os.fsencode(sounds / "dog") + b"/\xff.wav")
    assert len(prepare(folder_library(sounds), tmp_path / "audio")) == 5
    assert "not valid UTF-8" in caplog.text


def test_a_library_without_a_usable_file_is_refused(tmp_path):
    (tmp_path / "sounds" / "dog").mkdir(parents=True)
    with pytest.raises(UserError, match="lists no audio file"):
        prepare(folder_library(tmp_path / "sounds"), tmp_path / "audio")
    (tmp_path / "sounds" / "dog" / "a.wav").write_bytes(b"")
    with pytest.raises(UserError, match="none of the 1 files"):
        prepare(folder_library(tmp_path / "sounds"), tmp_path / "audio")


def test_a_library_with_too_few_labels_is_refused(tmp_path):
    write(tmp_path / "sounds" / "dog" / "a.wav")
    with pytest.raises(UserError, match=r"1 usable label\(s\) \(dog\).*needs 2"):
        prepare(folder_library(tmp_path / "sounds"), tmp_path / "audio")


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        prepare(folder_library(tmp_path / "nowhere"), tmp_path / "audio")


ESC50 = """filename,fold,target,category,esc10,src_file,take
1-1-A-0.wav,1,0,dog,True,1,A
1-1-B-0.wav,1,0,dog,True,1,B
2-2-A-1.wav,2,1,crying_baby,False,2,A
3-3-A-2.wav,3,2,rain,False,3,A
"""


@pytest.fixture
def esc50(tmp_path) -> dict[str, str]:
    """A tree laid out as a checkout of ESC-50: the keys csv and audio of its library."""
    table = tmp_path / "ESC-50" / "meta" / "esc50.csv"
    table.parent.mkdir(parents=True)
    table.write_text(ESC50)
    audio = tmp_path / "ESC-50" / "audio"
    for name in ("1-1-A-0.wav", "1-1-B-0.wav", "2-2-A-1.wav", "3-3-A-2.wav"):
        write(audio / name, tone(rate=44_100), 44_100)
    return {"type": "esc50", "csv": str(table), "audio": str(audio)}


def test_an_esc50_checkout(esc50, tmp_path):
    clips = prepare(Esc50Library(**esc50, source_column="src_file"), tmp_path / "audio")
    assert [(clip.label, clip.source) for clip in clips] == [
        *(("dog", "1"), ("dog", "1"), ("crying baby", "2"), ("rain", "3"))
    ]
    assert {clip.n_frames for clip in clips} == {RATE}
    assert prepare(Esc50Library(**esc50), tmp_path / "audio")[0].source == "1-1-A-0.wav"


def test_esc50_folds(esc50, tmp_path):
    with pytest.raises(UserError, match="1 usable"):
        prepare(Esc50Library(**esc50, folds=[1]), tmp_path / "audio")
    with pytest.raises(UserError, match="no row in the folds"):
        prepare(Esc50Library(**esc50, folds=[9]), tmp_path / "audio")


def test_esc50_with_a_missing_column(esc50, tmp_path):
    with pytest.raises(UserError, match=r"esc50\.csv lacks the column 'freesound_id'"):
        prepare(Esc50Library(**esc50, source_column="freesound_id"), tmp_path / "audio")
    Path(esc50["csv"]).write_bytes(b"\xff\xfe\x00 not a table")
    with pytest.raises(UserError, match="cannot be read as a csv table"):
        prepare(Esc50Library(**esc50), tmp_path / "audio")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("../secret.wav,1,0,dog,True,1,A", "lies outside"),
        ("/etc/passwd,1,0,dog,True,1,A", "lies outside"),
        ("gone.wav,1,0,dog,True,1,A", "does not exist"),
        ("1-1-A-0.wav,1,0,cat,True,1,A", "is listed twice"),
        ("./1-1-A-0.wav,1,0,cat,True,1,A", "is listed twice"),
        (",1,0,cat,True,1,A", "is not a file"),
        ("1-1-B-0.wav,1,0,,True,1,A", "has no label"),
        ('x.wav,1,0,"do\ng",True,1,A', "no line break"),
        ("x.wav,1,0,a/b,True,1,A", "no slash"),
    ],
)
def test_a_bad_row_is_named_and_skipped_or_refused(esc50, tmp_path, caplog, row, reason):
    write(tmp_path / "ESC-50" / "secret.wav")
    header, *rows = ESC50.splitlines()
    kept = [line for line in rows if not line.startswith("1-1-B")]
    Path(esc50["csv"]).write_text("\n".join([header, *kept, row, ""]))
    clips = prepare(Esc50Library(**esc50), tmp_path / "audio")
    assert len(clips) == 3
    assert reason in caplog.text
    with pytest.raises(UserError, match=reason):
        prepare(Esc50Library(**esc50, on_bad_file="refuse"), tmp_path / "audio")


WRONG_TABLES = {
    "a comma at the end": (ESC50.replace("True,1,B", "True,1,B,"), r"line 3: expected 7 fields, saw 8\); take out"),
    "at every end": (
        "filename,fold,target,category\n1.wav,1,0,dog,\n2.wav,2,0,dog,\n",
        r"line 2: expected 4 fields, saw 5\); take out or add a comma there, or put a field that holds one in quotes",
    ),
    "a label in two": ("filename,category\n1.wav,cat\n\n2.wav,Chirp, tweet\n", "line 4: expected 2 fields, saw 3"),
    "a comma too few": (ESC50.replace("2,1,crying", "2 1,crying"), "line 4: expected 7 fields, saw 6"),
    "something in a column without a name": ("filename,category,\n1.wav,Chirp, tweet\n", "line 2: expected 2 .*saw 3"),
    "a column twice": ("filename,category,category\n1.wav,dog,cat\n", "two columns 'category'.; rename or remove one"),
    "latin 1": ("filename,category\n1.wav,dog\n2.wav,\udce9l\n", r"line 3 is not UTF-8 text\); save it as UTF-8"),
    "utf 16 without a mark": ("f\0i\0l\0e\0", r"holds zero bytes\); save it as UTF-8"),
    "nothing": ("\ufeff\n , \n", r"cannot be read as a csv table \(it is empty\)"),
    "only a header": ("filename,category\n", "lists no audio file; add rows below its header"),
    "an open quote": (
        'filename,category\n1.wav,dog\n2.wav,"cat\n3.wav,hen\n',
        r"line 3: unexpected end.*repair the quotes",
    ),
}


@pytest.mark.parametrize("what", WRONG_TABLES)
def test_a_table_that_would_be_misread_is_refused_with_its_line(esc50, what):
    text, message = WRONG_TABLES[what]
    Path(esc50["csv"]).write_text(text, errors="surrogateescape")
    with pytest.raises(UserError, match=rf"esc50\.csv .*{message}") as caught:
        list_entries(Esc50Library(**esc50))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "\ufefffilename,category,\r\n1.wav,dog,\r\n2.wav,cat\r\n",
        ',filename, category\n0,1.wav,"dog"\n\n,,\n1,2.wav, cat \n',
        "filename,category\r1.wav,dog\r2.wav,cat",
    ],
)
def test_what_spreadsheets_add_to_a_table_does_no_harm(esc50, text):
    Path(esc50["csv"]).write_text(text, newline="", encoding="utf-8")
    entries = list_entries(Esc50Library(**esc50))
    assert [(entry.name, entry.label) for entry in entries] == [("1.wav", "dog"), ("2.wav", "cat")]


def test_wording_is_for_names_that_sounds_have(esc50, sounds):
    libraries = {"esc50": Esc50Library(**esc50, domains={"animals": ["dog"]}), "mine": folder_library(sounds)}
    wording = Wording(labels={"crying_baby": "a baby", "door\u00a0bell": "a bell"}, domains={})
    assert wording.of("crying baby", "sounds") == "a baby"
    check_names(libraries, wording)
    check_names(libraries, Wording(domains={"animals": "{label}", "languages": "{label} speech"}))
    for key, words, message in (
        ("labels", {"dgo": "a dog"}, "no configured sounds have the label 'dgo'; did you mean 'dog'?"),
        ("labels", {"Dog": "a dog"}, "no configured sounds have the label 'Dog'; did you mean 'dog'?"),
        (
            "domains",
            {"anmals": "{label}"},
            "no configured sounds have the domain 'anmals'; did you mean 'animals'?",
        ),
    ):
        with pytest.raises(UserError) as caught:
            check_names(libraries, Wording(**{key: words}))
        assert str(caught.value) == f"wording.{key}: {message}"
    libraries["mine"] = folder_library(sounds, domains={"home": ["doorbell"]})
    with pytest.raises(UserError, match=r"^sounds\.mine: domains: .* no label 'doorbell'; did you mean"):
        check_names(libraries, Wording())


@pytest.mark.parametrize("inside", ["", "data"])
def test_sakura(tmp_path, inside):
    root = tmp_path / "SAKURA"
    for track, labels in (("Animal", ("dog", "cat", "crow")), ("Language", ("German", "French", "English"))):
        folder = root / inside / track
        rows = [f'{label}1.wav,{label},"Which one? (a) x, (b) y",(a) x' for label in labels]
        for label in labels:
            write(folder / "audio" / f"{label}1.wav")
        (folder / "metadata.csv").write_text(
            "\n".join(["file,attribute_label,single_instruction,single_answer", *rows])
        )
    clips = prepare(SakuraLibrary(type="sakura", path=str(root), on_bad_file="refuse"), tmp_path / "audio")
    assert [(clip.label, clip.domain) for clip in clips] == [
        *(("dog", "animals"), ("cat", "animals"), ("crow", "animals")),
        *(("German", "languages"), ("French", "languages"), ("English", "languages")),
    ]
    assert clips[3].source == "Language/German1.wav"
    with pytest.raises(UserError, match=r"track 'Emotion'.*no metadata\.csv"):
        prepare(SakuraLibrary(type="sakura", path=str(root), tracks={"moods": "Emotion"}), tmp_path / "audio")


def test_real_recordings(esc10, tmp_path):
    library = Esc50Library(
        type="esc50",
        csv=str(esc10 / "clips.csv"),
        audio=str(esc10 / "audio"),
        source_column="freesound_id",
        folds=[1],
        on_bad_file="refuse",
        domains={"animals": ["dog bark", "rooster"], "weather": ["rain", "sea waves"]},
    )
    clips = prepare(library, tmp_path / "audio")
    assert len(clips) == 32
    assert labels_of(clips) == ["dog bark", "rain", "rooster", "sea waves"]
    assert all(3.5 * RATE < clip.n_frames < 7.5 * RATE for clip in clips)
    assert len({clip.source for clip in clips}) < len(clips)
    # Short recordings are padded with zeros; no event falls into them.
    settings = Composition(clip_seconds=(1.0, 1.5), domains="mixed")
    for index in range(20):
        plan = Composer(settings, clips).plan(index)
        audio = [read_clip(event.clip, tmp_path) for event in plan.events]
        plan, shares = cut_where_heard(plan, audio, settings)
        for event, clip, share in zip(plan.events, audio, shares, strict=True):
            assert clip[event.clip_start :][: event.n_frames].any()
            assert 0.05 < share <= 1

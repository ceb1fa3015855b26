"""Pages that play: what is in the file."""

import base64
import io
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile

from tests.page.recordings import heard, tones
from wheretolisten.page import MAX_POINTS, write_page, writing
from wheretolisten.page.writing import as_script, draw_spectrogram, shorten

BAD = ['</script><script>alert("1")</script>', "<!--<script>", 'it\'s "so" & \\ /*DATA*/ 🐕 كلب \u2028', "\ud800"]


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_names_cannot_leave_the_script_and_come_back_as_they_were(tmp_path):
    script = as_script({"names": BAD, "gap": [float("nan"), np.float32(np.inf), np.int64(3)]})
    assert not set("<>&\u2028\u2029") & set(script)
    assert json.loads(script) == {"names": [*BAD[:3], "?"], "gap": [None, None, 3]}
    write_page(heard(BAD[:3]), tones(12.0), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert [sound["name"] for sound in data_of(page)["sounds"]] == BAD[:3]
    assert page.count("<script") == page.count("</script>") == 2
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page


def test_a_minute_with_many_sounds_stays_small_and_plays_the_same_frames(tmp_path):
    sound = tones(60.0)
    sound += 0.02 * np.random.default_rng(1).standard_normal(sound.size).astype(np.float32)
    write_page(heard([f"sound {k}" for k in range(10)], 60.0, n_layers=4), sound, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size <= 3_000_000
    data = data_of((tmp_path / "page.html").read_text())
    played, rate = soundfile.read(io.BytesIO(base64.b64decode(data["audio"])))
    assert rate == 16_000
    np.testing.assert_allclose(played, sound, atol=2 / 2**15)
    assert len(data["sounds"][0]["curve"]["change"]) == 1500


def test_a_long_recording_is_left_out_and_its_curves_are_means(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "EMBEDDED_BYTES", 1_000_000)
    listen = heard(["dog"], 3600.0, n_layers=1)
    write_page(listen, 0.5 * np.random.default_rng(0).uniform(-1, 1, 800_000), tmp_path / "page.html")
    data = data_of((tmp_path / "page.html").read_text())
    assert data["audio"] is None
    assert data["limit"] == 1
    assert (tmp_path / "page.html").stat().st_size < 1_000_000
    curve, tokens = data["sounds"][0]["curve"], 60
    assert curve["tokens"] == tokens
    for name in ("seconds", "base", "change"):
        means = np.reshape(listen["sounds"][0]["curve"][name], (-1, tokens)).mean(axis=1)
        np.testing.assert_allclose(curve[name], means, rtol=1e-3, atol=1e-3)
    assert len(data["sounds"][0]["layers"][0]["change"]) == 1500


@pytest.mark.parametrize("n", [0, 1, MAX_POINTS, MAX_POINTS + 1, 7 * MAX_POINTS - 2])
def test_shortening_keeps_sums_where_blocks_are_full(n):
    values = np.random.default_rng(n).normal(size=n)
    short = shorten(values)
    assert len(short) <= MAX_POINTS
    step = max(1, -(-n // MAX_POINTS))
    full = n // step
    np.testing.assert_allclose(step * short[:full].sum(), values[: full * step].sum(), atol=1e-9)
    if n % step:
        np.testing.assert_allclose(short[-1], values[full * step :].mean())


def test_shortening_leaves_out_what_is_not_known():
    np.testing.assert_equal(shorten([1.0, np.nan, np.nan, np.inf, 5.0], most=3), [1.0, np.nan, 5.0])


def test_spectrogram_shows_a_tone_at_its_time_and_height():
    times = np.arange(8 * 16_000) / 16_000
    image = plt.imread(io.BytesIO(draw_spectrogram(np.sin(2 * np.pi * 6000 * times) * (times >= 4))))
    brightness = image[..., :3].sum(axis=2)
    loudest = brightness[:, brightness.shape[1] * 3 // 4].argmax()
    assert image.shape[0] == 128
    assert abs(loudest - 128 * (1 - 6000 / 8000)) <= 1  # rows go downwards
    assert brightness[loudest, : image.shape[1] * 2 // 5].max() < 0.2 * brightness[loudest].max()
    silent = plt.imread(io.BytesIO(draw_spectrogram(np.zeros(100, np.float32))))
    assert np.ptp(silent) <= 1  # nothing is divided by nothing
    assert draw_spectrogram(np.zeros(60 * 16_000 * 10)).startswith(b"\x89PNG")


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(10, 2\)"):
        write_page(heard(["dog"]), np.zeros((10, 2)), tmp_path / "page.html")
    listen = heard(["dog"])
    listen["sounds"][0]["curve"]["base"] = [1.0]
    with pytest.raises(ValueError, match="dog: base has 1 values, its times are 300"):
        write_page(listen, None, tmp_path / "page.html")
    listen["sounds"][0]["intervals"] = []
    with pytest.raises(ValueError, match="dog: heard is True, with 0 intervals"):
        write_page(listen, None, tmp_path / "page.html")
    assert not list(tmp_path.iterdir())

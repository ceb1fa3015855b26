"""Pages that play, in a real browser without a screen."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import soundfile

from wheretolisten.page import write_page, writing

from .recordings import heard, tones

HOSTILE = '<img src=x onerror="document.title=1"></script> "🐕" كلب'

# Contrast of two colours as Chromium computes them. Source: WCAG 2.2, "contrast ratio", "relative luminance".
CONTRASTS = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map((value) => value / 255)
      .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
    throw new Error("no ground");
  };
  const of = (one, two) => {
    const [low, high] = [light(one), light(two)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const nodes = [...document.querySelectorAll("h1, h2, p, th, td, li, select, button:enabled")];
  const bar = document.querySelector(".bar"), text = document.querySelector("#lanes text");
  return [...nodes.map((node) => of(getComputedStyle(node).color, ground(node))),
    of(getComputedStyle(text).fill, getComputedStyle(bar).fill)];
}"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, driven by playwright."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program, reason = None, "playwright is not installed: uv sync"
    else:
        reason = "there is no Chromium: apt-get install chromium"
    if program is None:
        # Where it must run, a browser that is missing is a failure and not a reason to skip.
        pytest.fail(reason) if os.environ.get("REQUIRE_BROWSER") else pytest.skip(reason)
    with sync_playwright() as playwright:
        # Containers forbid the sandbox and have little shared memory; the pages are our own.
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required"]
        chromium = playwright.chromium.launch(executable_path=program, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, tmp_path) -> Iterator[Any]:
    """Write a page and open it; at the end it must have asked for nothing and complained of nothing."""
    complaints, asked, pages = [], [], []

    def open_page(listen: dict, audio: np.ndarray | None, **options) -> Any:
        path = tmp_path / "page.html"
        write_page(listen, audio, path)
        page = browser.new_page(**({"viewport": {"width": 1000, "height": 900}} | options))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert complaints == []
    assert [url[:80] for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def time_of(page: Any) -> float:
    return page.evaluate("audio.currentTime")


def wait(page: Any, condition: str) -> None:
    """Playwright's own waiting evaluates strings in the page, which the page forbids."""
    for _ in range(1000):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(10)
    raise AssertionError(f"not within ten seconds: {condition}; at {time_of(page)} s")


def test_it_plays_seeks_and_stops_where_the_sound_ends(opened):
    page = opened(heard(["dog", HOSTILE, "rain"], absent=("rain",)), tones(12.0))
    wait(page, "audio.readyState >= 2")
    assert page.evaluate("audio.duration") == pytest.approx(12.0)
    assert page.evaluate("[document.title, document.querySelectorAll('main img').length]") == [
        "my recording.wav · Where to Listen",
        1,
    ]
    # By click: 3/4 of the width is second 9.
    box = page.locator("#image").bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 10)
    wait(page, "!audio.seeking")
    assert time_of(page) == pytest.approx(9.0, abs=0.05)
    head = page.locator("#head").bounding_box()
    assert head["x"] + 1 == pytest.approx(box["x"] + 0.75 * box["width"], abs=2)
    # By key, and what a screen reader is told of it.
    slider = page.get_by_role("slider", name="Place in the recording")
    slider.focus()
    for key, expected in [("ArrowLeft", 8.0), ("Shift+ArrowRight", 8.1), ("Home", 0.0), ("ArrowRight", 1.0)]:
        page.keyboard.press(key)
        assert time_of(page) == pytest.approx(expected, abs=0.06), key
    assert slider.get_attribute("aria-valuetext") == "0:01.0 of 0:12.0"
    assert page.evaluate("getComputedStyle(timeline).outlineStyle") == "solid"  # focus is seen
    page.keyboard.press("Space")
    wait(page, "audio.currentTime > 1.2 && !audio.paused")
    page.keyboard.press("Space")
    assert page.evaluate("audio.paused")
    # Hovering tells time and values, and leaves the playhead.
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 5)
    assert page.locator("#values").inner_text().startswith("0:06.0 · base ")
    page.mouse.move(0, 0)
    # One interval is played, from its onset to its offset.
    page.get_by_role("button", name="Play dog, 0:00.8 to 0:03.2").click()
    wait(page, "!audio.paused && audio.currentTime > 0.8 && audio.currentTime < 3")
    page.evaluate("audio.playbackRate = 2")
    wait(page, "audio.paused")
    assert time_of(page) == pytest.approx(3.2, abs=0.02)


def test_it_says_what_is_heard_and_what_is_not(opened):
    listen = heard(["dog", HOSTILE, "rain"], absent=("rain",))
    page = opened(listen, tones(12.0))
    rows = [row.inner_text().split("\t") for row in page.locator("#rows tr").all()]
    assert rows == [
        ["dog", "0:00.8", "0:03.2", "2.5 / 1.25", "▶"],
        [HOSTILE, "0:04.8", "0:07.2", "2.5 / 1.25", "▶"],
        ["rain", "not heard", "0.75 / 1.25", ""],
    ]
    said = page.get_by_role("status")
    assert said.get_attribute("aria-live") == "polite"
    assert said.inner_text() == "“\u2068dog\u2069” is heard at 0:00.8–0:03.2: score 2.5, threshold 1.25, p = 0.05."
    assert page.locator("#true-rows li").all_inner_texts()[0] == "\u2068dog\u2069, 0:00.8–0:03.2"
    sound, layer = page.get_by_label("Sound", exact=True), page.get_by_label("Layer", exact=True)
    together = page.locator("#change path").get_attribute("d")
    layer.select_option("2", timeout=3000)
    doubled = page.locator("#change path").get_attribute("d")
    assert page.locator("#change-name").inner_text().endswith("(doublings), layer 2")
    layer.select_option("0")  # all of it is 0 there
    assert page.locator("#change path").get_attribute("d") not in (together, doubled)
    sound.select_option("2")
    assert said.inner_text() == (
        "“\u2068rain\u2069” is not heard: its score of 0.75 does not pass the threshold of 1.25, p = 0.6."
    )
    assert layer.input_value() == "0"
    assert page.get_by_role("button", name="Play what is heard").is_disabled()
    # A lane chooses its sound, too.
    page.locator('#lanes .bar[data-sound="1"]').click()
    assert sound.input_value() == "1"
    assert HOSTILE in said.inner_text()
    # In order of tabs: player, sound, layer, play, place, table.
    page.get_by_label("Sound", exact=True).focus()
    order = []
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.ariaLabel"))
    assert order == ["layer", "first", "timeline", "Play dog, 0:00.8 to 0:03.2"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_light_and_dark_on_a_narrow_screen_and_on_paper(opened, scheme):
    names = ["dog", "a very long name of a sound that nobody would call so, " * 3, HOSTILE, "rain"]
    page = opened(
        heard(names, absent=("rain",)),
        tones(12.0),
        color_scheme=scheme,
        viewport={"width": 360, "height": 700},
    )
    assert page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]") == [360, 360]
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 22, 26)"}[scheme]
    assert min(page.evaluate(CONTRASTS)) >= 4.5
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#audio").is_visible()
    assert page.locator("#rows tr").count() == 4
    assert min(page.evaluate(CONTRASTS)) >= 4.5


def test_a_recording_that_is_not_in_the_page_is_opened_from_it(opened, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "own.flac", tones(12.0), 16_000)
    monkeypatch.setattr(writing, "EMBEDDED_BYTES", 1_000_000)
    page = opened(heard(["dog"]), np.random.default_rng(0).uniform(-1, 1, 600_000))
    assert page.get_by_role("button", name="Play dog, 0:02.4 to 0:09.6").is_disabled()
    page.locator("#timeline").focus()
    page.keyboard.press("ArrowRight")  # the place moves without any sound
    assert page.locator("#values").inner_text().startswith("0:01.0")
    page.get_by_label("The recording is larger than 1 MB and not part of this page").set_input_files(
        tmp_path / "own.flac"
    )
    wait(page, "audio.readyState >= 2 && !audio.seeking")
    assert time_of(page) == pytest.approx(1.0, abs=0.02)
    page.get_by_role("button", name="Play dog, 0:02.4 to 0:09.6").click()
    wait(page, "!audio.paused && audio.currentTime > 2.4")

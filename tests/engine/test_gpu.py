"""Every way of reading and steering on a GPU, against the same on the CPU, in float32."""

import numpy as np
import pytest
import torch

from tests.engine.conftest import SHIPPED
from tests.engine.test_answers import CHOICES, FORMS, N_NEW, PROMPTS, ROWS, random_vectors
from wheretolisten.config.models import Model
from wheretolisten.config.probe import Steering
from wheretolisten.engine.passes import Engine
from wheretolisten.models.registry import load

DEVICE = "cuda"


@pytest.fixture(scope="module", autouse=True)
def _card():
    if not torch.cuda.is_available():
        pytest.skip("no GPU is visible to PyTorch")
    allowed = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = allowed


@pytest.fixture(scope="module", params=SHIPPED)
def engines(request, root):
    checkpoint = str(root / "resources" / request.param)
    return [Engine(load(Model(checkpoint=checkpoint, dtype="float32", device=device))) for device in ("cpu", DEVICE)]


@pytest.fixture(scope="module")
def asked():
    rng = np.random.default_rng(4)
    sounds = [rng.normal(0, 0.1, round(seconds * 16_000)).astype(np.float32) for seconds in (3.2, 5.0)]
    return {
        "recordings": [*sounds, None],
        "prompts": [PROMPTS[prompt] for _, prompt in ROWS],
        "audio_index": [recording for recording, _ in ROWS],
    }


def assert_same(engines, ask):
    """What is asked gives the same on both devices, to 1e-4 of the largest value."""
    ours, theirs = (ask(engine) for engine in engines)
    for name, expected in vars(theirs).items():
        if expected is not None:
            np.testing.assert_allclose(getattr(ours, name), expected, atol=1e-4 * np.nanmax(np.abs(expected)))


@pytest.mark.parametrize("wanted", ["keep_text", "keep_heads", "want_head_mass", "want_audio_share"])
def test_readings(engines, asked, wanted):
    assert_same(engines, lambda engine: engine.read(**asked, want_states=True, **{wanted: True}))


@pytest.mark.parametrize("form", FORMS, ids=[f"{positions}-{decoding}" for positions, decoding, _ in FORMS])
def test_steering(engines, asked, form):
    positions, decoding, settings = form
    window = {"all": "all", "none": "none", "window": {"first": 2}, "fading": {"first": 3, "decay": 0.5}}
    steering = Steering(positions=positions, decoding=window[decoding], **settings)
    given = dict(vectors=random_vectors(engines[0].adapter), steering=steering)
    if steering.site != "final_norm":
        assert_same(engines, lambda engine: engine.read(**asked, **given, want_states=True))
        support = np.random.default_rng(5).random(given["vectors"].shape) < 0.5
        inside = given | {"support": support}
        if steering.operator == "scale":
            del inside["vectors"]
        assert_same(engines, lambda engine: engine.read(**asked, **inside))
    assert_same(engines, lambda engine: engine.choose(**asked, **given, choices=CHOICES))
    answers = [engine.answer(**asked, **given, max_new_tokens=N_NEW) for engine in engines]
    assert answers[0] == answers[1]


def test_smaller_passes_change_nothing(engines, asked):
    on_card = engines[1]
    smaller = Engine(on_card.adapter, max_rows=1)
    assert_same([on_card, smaller], lambda engine: engine.read(**asked, want_states=True))

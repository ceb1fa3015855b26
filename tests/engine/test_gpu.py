"""Every way of reading and steering on a GPU, against the same on the CPU, in float32."""

import numpy as np
import pytest
import torch

from tests.engine.conftest import SHIPPED
from tests.engine.test_answers import CHOICES, FORMS, N_NEW, PROMPTS, ROWS, random_vectors
from tests.engine.test_interruption import MOSHI, by_steps, steering_of
from tests.engine.test_interruption import moshi as moshi  # the fixture
from wheretolisten.config.models import Model
from wheretolisten.config.probe import Steering
from wheretolisten.engine import sites
from wheretolisten.engine.injection import Injection
from wheretolisten.engine.passes import Engine
from wheretolisten.models.registry import load

DEVICE = "cuda"
ANSWERS = [", ".join(own) for own in CHOICES]


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
            assert_close(getattr(ours, name), expected)


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.nanmax(np.abs(theirs)))


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
        # Whoever hears beforehand keeps the prefixes' keys and values.
        heard = {id(engine): engine.hear(asked["recordings"]) for engine in engines}
        for _ in range(2):
            assert_same(
                engines,
                lambda engine: engine.read(**asked | {"recordings": heard[id(engine)]}, **given, want_states=True),
            )
        assert all(bool(each.prefixes) == (positions != "all") for each in heard.values())
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


@pytest.mark.parametrize(
    "settings",
    [
        {"scale": 0.3},
        {"site": "gates", "positions": "last", "scale": 0.2, "preserve_norm": False},
        {"site": "neurons", "operator": "cap", "positions": "none", "preserve_norm": False},
    ],
    ids=lambda settings: settings.get("site", "block"),
)
def test_states_and_predictions_at_the_tokens_of_given_answers(engines, asked, settings):
    adapter, rng = engines[0].adapter, np.random.default_rng(6)
    steering = Steering(**settings)
    shape = (len(ROWS), adapter.n_layers, sites.width(adapter, steering.site))
    given = {"steering": steering, "vectors": rng.normal(size=shape).astype(np.float32)}
    if steering.operator == "cap":
        given = {"steering": steering, "support": rng.random(shape) < 0.5}
    for steered in ({}, given):
        arguments = {**asked, "answers": ANSWERS, **steered}
        on_cpu, on_card = (engine.states_of(**arguments, site=steering.site) for engine in engines)
        for ours, theirs in zip(on_card, on_cpu, strict=True):
            assert_close(ours, theirs)
        on_cpu, on_card = (engine.predict(**arguments) for engine in engines)
        for ours, theirs in zip(on_card, on_cpu, strict=True):
            assert_close(np.exp(ours), np.exp(theirs))


def test_gradients_from_attention_to_the_signal(engines, asked):
    recording, found = asked["recordings"][1], []
    for engine in engines:
        signal = torch.as_tensor(recording, device=engine.adapter.device).requires_grad_(True)
        attention = engine.attention_to(recording, PROMPTS)(signal)
        (gradient,) = torch.autograd.grad(attention[:, :, :20].sum(), signal)
        found.append((attention.detach().cpu().numpy(), gradient.cpu().numpy()))
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs)


def test_moshi_is_steered_step_by_step(moshi):
    vectors = torch.randn(
        2, MOSHI["num_hidden_layers"], MOSHI["hidden_size"], generator=torch.Generator().manual_seed(2)
    )
    found = []
    for device in ("cpu", DEVICE):
        injected = Injection.of(vectors, steering_of(1, 1.5, 3), None, torch.device(device))
        found.append([each.cpu().numpy() for each in by_steps(moshi.to(device), injected, torch.tensor([2, 5]))])
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs)

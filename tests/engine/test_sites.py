"""Every site and operator: as the oracle has it, and as weights that were changed by hand to the same effect."""

import itertools

import numpy as np
import pytest
import torch

from wheretolisten.config.models import Model
from wheretolisten.config.probe import Steering
from wheretolisten.engine import reading, sites
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.models.registry import load

from .test_oracle import assert_agrees

PROMPTS = ("Describe the audio.", "Which part of the audio has the sound of rooster?")
# Two rows are one prompt, which differ in nothing but their vectors.
ROWS = [(0, 0), (1, 1), (0, 0)]
SITES = [name for name, site in sites.SITES.items() if site.in_block]
OPERATORS = ("add", "ablate", "set", "scale")


@pytest.fixture(scope="module")
def sounds(recordings):
    return [recordings[1], recordings[3][: 5 * 16_000]]


@pytest.fixture(params=["random-qwen2-audio", "random-audio-flamingo-3"])
def checkpoint(request, checkpoints):
    return checkpoints[request.param]


@pytest.fixture
def adapter(checkpoint):
    """A model of one's own, whose weights may be changed."""
    return load(Model(checkpoint=str(checkpoint), device="cpu", dtype="float32"))


def batch(sounds):
    return dict(recordings=sounds, prompts=[PROMPTS[p] for _, p in ROWS], audio_index=[r for r, _ in ROWS])


def random_vectors(adapter, site):
    rng = np.random.default_rng(0)
    return rng.normal(size=(len(ROWS), adapter.n_layers, sites.width(adapter, site))).astype(np.float32)


def assert_same(first, second, atol=0.0):
    np.testing.assert_allclose(first.states, second.states, rtol=0, atol=atol * max(1, np.abs(second.states).max()))
    np.testing.assert_allclose(first.attention, second.attention, rtol=0, atol=atol)


@pytest.mark.parametrize("site", SITES)
def test_states_are_those_of_a_naive_pass_at_every_site(pair, sounds, site):
    adapter, oracle = pair
    found = Engine(adapter).read(**batch(sounds), want_states=True, site=site)
    assert found.states.shape == (len(ROWS), adapter.n_layers, sites.width(adapter, site))
    assert_agrees(found, [oracle.read(sounds[r], PROMPTS[p], read_site=site) for r, p in ROWS])


# Rows share the blocks before the first steered one, which is the second, the first, or the one in the middle.
FORMS = {
    "add": {"scale": 2.0, "layers": "1-1", "normalisation": "unit", "gate": "opposed"},
    "ablate": {"scale": 0.8, "layers": "all"},
    "set": {"scale": -0.5, "layers": "second_half", "preserve_norm": False},
    "scale": {"scale": 3.0, "layers": "all", "preserve_norm": False},
}


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(
    ("pair", "some_positions"),
    # The second model hears long windows, which take time; its heads are narrower than the stream.
    [("random-audio-flamingo-3", ("all", "after_audio", "last")), ("random-qwen2-audio", ("all",))],
    indirect=["pair"],
)
def test_every_operator_agrees_on_both_paths(pair, sounds, site, some_positions):
    adapter, oracle = pair
    engine = Engine(adapter)
    heard = engine.hear(sounds)
    inside = np.random.default_rng(1).random((len(ROWS), adapter.n_layers, sites.width(adapter, site))) > 0.6
    others = itertools.cycle(SITES)
    # In full, and behind a shared prefix; states are taken where they are steered, and elsewhere.
    cases = [("all", None, True), ("all", inside, False), ("after_audio", inside, True), ("last", None, False)]
    for operator, (positions, support, here) in itertools.product(OPERATORS, cases):
        if positions not in some_positions:
            continue
        read_site = site if here else next(others)
        steering = Steering(operator=operator, site=site, positions=positions, **FORMS[operator])
        vectors = None if support is not None and operator == "scale" else random_vectors(adapter, site)
        given = dict(vectors=vectors, steering=steering, support=support)
        found = engine.read(**batch(heard), **given, want_states=True, site=read_site)
        scales = steering.scales(adapter.n_layers)
        expected = [
            oracle.read(
                sounds[r],
                PROMPTS[p],
                "all",
                None if vectors is None else vectors[row],
                scales,
                tuple(scales),
                positions,
                steering.normalisation,
                steering.gate,
                steering.preserve_norm,
                site=site,
                operator=operator,
                support=None if support is None else support[row],
                read_site=read_site,
            )
            for row, (r, p) in enumerate(ROWS)
        ]
        assert_agrees(found, expected)


@pytest.mark.parametrize("site", SITES)
def test_what_changes_nothing_changes_no_bit_at_any_site(adapter, sounds, site):
    # In full, as steered prompts go through, so that sums are taken in one order.
    engine = Engine(adapter, share_prefix=False)
    plain = engine.read(**batch(sounds), want_states=True)
    vectors = random_vectors(adapter, site)
    forms = [
        (vectors, {"scale": 0.0}, None),
        (vectors, {"scale": 0.0, "operator": "ablate"}, None),
        (vectors, {"scale": 1.0, "operator": "scale"}, None),
        (np.zeros_like(vectors), {"scale": 2.0, "operator": "set"}, None),
        (vectors, {"scale": 2.0}, np.zeros_like(vectors)),
        (None, {"scale": 0.0, "operator": "scale", "preserve_norm": False}, np.zeros_like(vectors[0])),
    ]
    for own, form, support in forms:
        steering = Steering(site=site, **form)
        same = engine.read(**batch(sounds), vectors=own, steering=steering, support=support, want_states=True)
        assert_same(same, plain)
    changed = engine.read(**batch(sounds), vectors=vectors, steering=Steering(site=site), want_states=True)
    assert np.abs(changed.states - plain.states).max() > 1e-3


@pytest.mark.parametrize("positions", ["all", "last"])
@pytest.mark.parametrize("site", SITES)
def test_what_is_read_back_is_what_was_added(adapter, sounds, monkeypatch, site, positions):
    layer, scale = adapter.n_layers - 1, 0.25
    vectors = random_vectors(adapter, site)[:1]
    steering = Steering(site=site, scale=scale, layers=[layer], positions=positions, preserve_norm=False)
    given = dict(recordings=sounds[:1], prompts=PROMPTS[:1], want_states=True, site=site)
    engine, kept = Engine(adapter, share_prefix=False), []
    # Every token at the site, after all other hooks.
    place = sites.places(adapter, site)[layer]
    monkeypatch.setattr(
        reading.injection,
        "hooked",
        lambda hooks, inner=reading.injection.hooked: inner([*hooks[:-1], (place, kept.append), hooks[-1]]),
    )
    plain = engine.read(**given)
    found = engine.read(**given, vectors=vectors, steering=steering)
    np.testing.assert_array_equal(found.states[:, :layer], plain.states[:, :layer])
    limit = 1e-6 * max(1, np.abs(plain.states).max())
    np.testing.assert_allclose(
        found.states[:, layer] - plain.states[:, layer], scale * vectors[:, layer], rtol=0, atol=limit
    )
    before, after = kept
    moved = (after - before)[0]
    if positions == "last":
        assert not moved[:-1].any()
        moved = moved[-1:]
    expected = scale * torch.tensor(vectors[0, layer]).expand_as(moved)
    torch.testing.assert_close(moved, expected, rtol=0, atol=limit)


def test_adding_to_the_heads_is_a_bias_of_the_output_projection(checkpoint, adapter, sounds):
    vectors = np.repeat(random_vectors(adapter, "heads")[:1], len(ROWS), axis=0)
    steering = Steering(site="heads", scale=0.5, preserve_norm=False)
    found = Engine(adapter).read(**batch(sounds), vectors=vectors, steering=steering, want_states=True)
    changed = load(Model(checkpoint=str(checkpoint), device="cpu", dtype="float32"))
    for block, vector in zip(changed.blocks, torch.tensor(vectors[0]), strict=True):
        projection = block.self_attn.o_proj
        projection.bias = torch.nn.Parameter(projection.weight @ (0.5 * vector), requires_grad=False)
    assert_same(found, Engine(changed).read(**batch(sounds), want_states=True), atol=1e-5)
    # The same sum, added where it arises.
    arrived = np.stack([block.self_attn.o_proj.bias.numpy() for block in changed.blocks])[None].repeat(len(ROWS), 0)
    steering = Steering(site="attention", scale=1, preserve_norm=False)
    same = Engine(adapter).read(**batch(sounds), vectors=arrived, steering=steering, want_states=True)
    assert_same(same, found, atol=1e-5)


def project(weights, direction):
    """W − r̂ r̂ᵀ W (Arditi et al. 2024): nothing that comes out has a part along the direction."""
    weights -= torch.outer(direction, direction @ weights)


@pytest.mark.parametrize(("site", "left_out"), [("attention", "o_proj"), ("mlp", "down_proj"), ("block", "down_proj")])
def test_ablation_equals_orthogonal_weights(checkpoint, adapter, site, left_out):
    """Ablating at a site does what projecting the weights before it does, all else being projected already."""
    rng = np.random.default_rng(4)
    direction = torch.tensor(rng.normal(size=adapter.hidden_size), dtype=torch.float32)
    direction /= direction.norm()
    whole = load(Model(checkpoint=str(checkpoint), device="cpu", dtype="float32"))
    plain = Engine(whole).read([None], PROMPTS, [0, 0], want_states=True)
    for model, skipped in ((adapter, left_out), (whole, None)):
        embedding = model.model.get_input_embeddings().weight
        embedding -= torch.outer(embedding @ direction, direction)
        for block in model.blocks:
            for name, projection in (("o_proj", block.self_attn.o_proj), ("down_proj", block.mlp.down_proj)):
                if name != skipped:
                    project(projection.weight, direction)
    vectors = np.broadcast_to(3 * direction.numpy(), (len(PROMPTS), adapter.n_layers, adapter.hidden_size))
    steering = Steering(operator="ablate", scale=1, site=site, preserve_norm=False)
    found = Engine(adapter).read([None], PROMPTS, [0, 0], vectors, steering, want_states=True)
    expected = Engine(whole).read([None], PROMPTS, [0, 0], want_states=True)
    assert_same(found, expected, atol=1e-4)
    parts = np.abs(found.states @ direction.numpy()) / np.linalg.norm(found.states, axis=-1)
    assert parts.max() < 1e-5
    assert np.abs(plain.states - expected.states).max() > 1e-2


@pytest.mark.parametrize("site", ["heads", "neurons"])
def test_what_is_scaled_by_0_has_no_columns_in_the_projection(adapter, sounds, site):
    """A head, or some neurons, of one block: every coordinate of the support, and no other."""
    layer = 1
    support = np.zeros((adapter.n_layers, sites.width(adapter, site)), dtype=bool)
    n_heads = adapter.model.config.get_text_config().num_attention_heads
    if site == "heads":
        support.reshape(adapter.n_layers, n_heads, -1)[layer, 2] = True
    else:
        support[layer, [3, 50, 51]] = True
    steering = Steering(operator="scale", scale=0, site=site, preserve_norm=False)
    for positions in ("all", "after_audio"):
        given = dict(steering=steering.model_copy(update={"positions": positions}), support=support, want_states=True)
        silenced = Engine(adapter).read(**batch(sounds), **given, site=site)
        assert not silenced.states[:, support].any()
        assert silenced.states[:, ~support].all()
    found = Engine(adapter).read(**batch(sounds), steering=steering, support=support, want_states=True)
    plain = Engine(adapter).read(**batch(sounds), want_states=True)
    module = adapter.blocks[layer].get_submodule(sites.SITES[site].module)
    module.weight[:, torch.tensor(support[layer])] = 0
    assert_same(found, Engine(adapter).read(**batch(sounds), want_states=True), atol=1e-5)
    assert np.abs(found.states - plain.states).max() > 1e-3


def test_nan_reaches_what_comes_after_it_in_its_own_row_alone(adapter, sounds):
    engine, last = Engine(adapter), adapter.n_layers - 1
    for steered, read in itertools.product(SITES, ("heads", "neurons", "block")):
        vectors = random_vectors(adapter, steered)
        steering = Steering(site=steered, layers=[last])
        whole = engine.read(**batch(sounds), vectors=vectors, steering=steering, want_states=True, site=read)
        vectors[1, last, 0] = np.nan
        holed = engine.read(**batch(sounds), vectors=vectors, steering=steering, want_states=True, site=read)
        is_after = SITES.index(read) >= SITES.index(steered)
        assert np.isnan(holed.states[1, last]).all() == is_after
        assert np.isfinite(holed.states[1, :last]).all()
        others = [0, 2]
        np.testing.assert_array_equal(holed.states[others], whole.states[others])
        assert np.isfinite(holed.attention[1, :, 0]).all()


def test_a_pass_ends_with_the_last_state_that_is_wanted(adapter, sounds, monkeypatch):
    later = [adapter.blocks[-1].self_attn.o_proj, adapter.blocks[-1].mlp, adapter.text_stack.norm]
    for site, rest in (("heads", later), ("attention", later[1:]), ("block", later[2:])):
        with monkeypatch.context() as patch:
            for module in rest:
                patch.setattr(module, "forward", lambda *_: pytest.fail("computed for nobody"))
            found = Engine(adapter).read(**batch(sounds), want_states=True, site=site)
        assert np.isfinite(found.states).all()


def test_what_does_not_fit_a_site_is_refused(adapter, sounds, monkeypatch):
    engine, given = Engine(adapter), batch(sounds)
    heads = random_vectors(adapter, "heads")
    scaled = Steering(operator="scale", site="heads", preserve_norm=False)
    width = sites.width(adapter, "heads")
    with pytest.raises(ValueError, match=r"width at site neurons"):
        engine.read(**given, vectors=heads, steering=Steering(site="neurons"))
    with pytest.raises(ValueError, match=r"^there is no site 'head'; choose from heads, attention, "):
        engine.read(**given, want_states=True, site="head")
    for wrong in (np.ones(width), np.full((adapter.n_layers, width), 0.5), np.ones((adapter.n_layers, width + 1))):
        with pytest.raises(ValueError, match="pass zeros and ones of one of these shapes"):
            engine.read(**given, vectors=heads, steering=Steering(site="heads"), support=wrong)
    support = np.ones((adapter.n_layers, width))
    with pytest.raises(ValueError, match="pass a steering, too"):
        engine.read(**given, support=support)
    with pytest.raises(ValueError, match="a support that is scaled takes no vectors"):
        engine.read(**given, vectors=heads, steering=scaled, support=support)
    with pytest.raises(ValueError, match="set preserve_norm: false"):
        engine.read(**given, steering=Steering(operator="scale", site="heads"), support=support)
    for block in adapter.blocks:
        monkeypatch.setattr(block, "mlp", torch.nn.Identity())
    monkeypatch.setattr(adapter, "encode", lambda _: pytest.fail("something expensive came first"))
    with pytest.raises(UserError, match=r"no module mlp\.down_proj, hence no site 'neurons'; choose another site"):
        engine.read(**given, want_states=True, site="neurons")

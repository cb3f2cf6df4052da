"""Every architecture that transformers can build small: it is read rightly, or refused with a reason; no third way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

import architectures
from isogloss import models
from isogloss.errors import InputError, UsageError

PAGE = Path(__file__).parents[2] / "docs/models.md"


@pytest.fixture(scope="module")
def outcomes():
    """Try them all in a process of their own, whose memory is bounded."""
    done = subprocess.run(
        [sys.executable, architectures.__file__], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_every_architecture_is_read_rightly_or_refused_with_a_reason(outcomes):
    broken = {
        f"{kind}/{stack}": said
        for kind, found in outcomes.items()
        for stack, said in found.items()
        if stack != "not built" and said not in ("works", "equal lengths") and not said.startswith("refused: ")
    }
    assert not broken
    assert sum("not built" in found for found in outcomes.values()) < len(outcomes) / 6
    for kind in (
        "bert",
        "xlm-roberta",
        "mt5",
        "llama",
        "internvl",
        "gemma3",
        "llava",
        "qwen3_vl",
        "xlnet",
        "longformer",
    ):
        assert set(outcomes[kind].values()) == {"works"}, kind
    for kind in ("convbert", "mobilebert", "fnet", "yoso", "paligemma"):
        assert set(outcomes[kind].values()) == {"equal lengths"}, kind


@pytest.mark.slow
def test_the_page_lists_what_came_out(outcomes):
    page = PAGE.read_text()
    told = page.split(architectures.BEGIN)[1].split(architectures.END)[0]
    if f"transformers {transformers.__version__}," not in told:
        pytest.skip("the page was written with another version of transformers")
    assert told == architectures.lists(outcomes)


# -- single cases ---------------------------------------------------------------------------------


def tiny(kind, stack=None):
    return architectures.loaded(kind, architectures.build(kind), stack)[0]


def batch(model, lengths=(5, 12)):
    return architectures._lines(lengths, model.pad_id, torch.Generator().manual_seed(1))


def test_text_beside_images_is_read_by_the_decoder_even_where_the_other_tower_is_as_deep():
    model = tiny("internvl")
    assert model.stack == "decoder"
    assert len(model.module.vision_tower.encoder.layer) == model.n_layers == 2
    text = set(map(id, model.module.language_model.modules()))
    assert all(id(block) in text for block in model.reading.blocks)


def test_layers_that_are_skipped_without_an_image_are_not_made_up():
    model = tiny("mllama")
    with pytest.raises(InputError, match="returned 3 layers of text where its configuration promises 4"):
        _ = model.reading


def test_a_layer_that_does_not_come_in_a_later_pass_stops_it():
    model = tiny("llama")
    ids, mask = batch(model)
    assert list(models.hidden_states(model, ids, mask, torch.clone, layers=[1])) == [1]
    skipped = model.reading.blocks[1]
    model.module.layers = torch.nn.ModuleList([model.module.layers[0], torch.nn.Identity()])
    model.module.layers[1].attention_type = "full_attention"
    model.module.layers[1].forward = lambda x, **_: x
    assert skipped not in model.module.modules()
    with pytest.raises(InputError, match=r"did not come by layers \[1\] in one pass"):
        models.hidden_states(model, ids, mask, torch.clone)


def test_a_stack_that_pads_inside_is_cut_and_the_padding_has_no_say():
    model = tiny("longformer")
    assert model.reading.cut
    ids, mask = batch(model, (31, 9))  # windows of 8 subwords
    found = models.hidden_states(model, ids, mask, torch.clone)
    alone = model.module(input_ids=ids[:1], output_hidden_states=True).hidden_states
    for layer, states in found.items():
        assert states.shape == (2, 31, architectures.WIDTH)
        torch.testing.assert_close(states[0], alone[layer][0], atol=1e-4, rtol=1e-4)


def test_raw_is_the_last_block_s_output_or_refused():
    """XLM's lists of attentions, norms and feed-forwards are as long as it is deep; none of them is its blocks."""
    for kind, final_norm in (("xlm", False), ("llama", True)):
        model = tiny(kind)
        assert model.reading.final_norm is final_norm
        ids, mask = batch(model)
        normed, raw = (
            models.hidden_states(model, ids, mask, torch.clone, layers=[2], last_layer=how)[2]
            for how in ("normed", "raw")
        )
        assert torch.equal(normed, raw) is not final_norm
    model = tiny("xlnet")
    with pytest.raises(UsageError, match=r"before its final norm cannot be had\. Use last_layer normed"):
        models.hidden_states(model, *batch(model), torch.clone, last_layer="raw")


def test_big_bird_does_not_depend_on_what_it_read_before():
    model = tiny("big_bird")
    ids, mask = batch(model, (60, 41))
    before = models.hidden_states(model, ids, mask, torch.clone)
    models.hidden_states(model, *batch(model, (4, 3)), torch.clone)
    after = models.hidden_states(model, ids, mask, torch.clone)
    assert all(torch.equal(before[layer], after[layer]) for layer in before)


def test_one_language_s_adapters_are_not_used_for_all():
    model = tiny("xmod")
    model.module.set_default_language("en_XX")
    with pytest.raises(InputError, match="weights of its own for each of 2 languages"):
        _ = model.reading

import pytest

from app.core.estimates import ModelShape, Unknown, read_shape
from app.core.jobs.spec import LoraSpec
from tests.core.estimates.folders import GPT2, LLAMA_7B, gpt2_tensors, llama_tensors, write


def test_llama_7b_has_the_parameters_and_adapters_it_is_known_for(tmp_path):
    shape = read_shape(write(tmp_path, LLAMA_7B, llama_tensors(LLAMA_7B)))

    assert isinstance(shape, ModelShape)
    assert shape.parameters == 6_738_415_616
    assert shape.adapter_parameters(LoraSpec(r=16)) == 39_976_960
    # The paper's own choice: queries and values, rank 8.
    assert shape.adapter_parameters(LoraSpec(r=8, target_modules=["q_proj", "v_proj"])) == 4_194_304


def test_a_head_that_is_the_embedding_is_counted_once(tmp_path):
    config = LLAMA_7B | {"tie_word_embeddings": True}
    shape = read_shape(write(tmp_path, config, llama_tensors(config, head=False)))

    assert isinstance(shape, ModelShape)
    assert shape.head == 0
    assert shape.parameters == 6_738_415_616 - 32000 * 4096


def test_grouped_heads_are_narrower(tmp_path):
    config = LLAMA_7B | {"model_type": "qwen3", "num_key_value_heads": 8, "head_dim": 64}
    shape = read_shape(write(tmp_path, config, llama_tensors(config)))

    assert isinstance(shape, ModelShape)
    sizes = {each.end: (each.num_in, each.num_out) for each in shape.linear}
    assert sizes["q_proj"] == (4096, 2048)
    assert sizes["k_proj"] == sizes["v_proj"] == (4096, 512)
    assert sizes["down_proj"] == (11008, 4096)


def test_gpt2_keeps_its_matrices_the_other_way_round(tmp_path):
    shape = read_shape(write(tmp_path, GPT2, gpt2_tensors(GPT2)))

    assert isinstance(shape, ModelShape)
    sizes = {each.name: (each.num_in, each.num_out) for each in shape.linear}
    assert sizes["transformer.h.0.attn.c_attn"] == (768, 2304)
    assert sizes["transformer.h.11.mlp.c_proj"] == (3072, 768)
    assert shape.is_tied
    assert len(shape.targets(LoraSpec(target_modules=["c_proj"]))) == 24


def without_a_layer(config):
    tensors = llama_tensors(config)
    del tensors["model.layers.3.mlp.up_proj.weight"]
    return tensors


@pytest.mark.parametrize(
    ("changes", "tensors", "reason"),
    [
        ({"model_type": "mamba"}, llama_tensors, "architecture 'mamba'"),
        ({"hidden_size": None}, llama_tensors, "no usable `hidden_size`"),
        ({"intermediate_size": 11007}, llama_tensors, "does not have the size"),
        ({}, without_a_layer, "are missing from the safetensors"),
        (
            {},
            lambda config: llama_tensors(config) | {"model.layers.0.mlp.gate.weight": (8, 4096)},
            "does not belong to the architecture",
        ),
        ({}, lambda config: llama_tensors(config, head=False), "neither a head of its own"),
    ],
)
def test_what_is_not_understood_is_unknown_and_says_why(tmp_path, changes, tensors, reason):
    found = read_shape(write(tmp_path, LLAMA_7B | changes, tensors(LLAMA_7B)))

    assert isinstance(found, Unknown)
    assert reason in found.reason


def test_a_folder_that_cannot_be_read_is_unknown(tmp_path):
    assert isinstance(read_shape(tmp_path), Unknown)
    (tmp_path / "config.json").write_text("[]")
    (tmp_path / "model.safetensors").write_bytes(b"short")
    assert isinstance(read_shape(tmp_path), Unknown)


def test_layers_are_not_listed_where_a_tensor_holds_all_experts(tmp_path):
    """A job may name them, as Granite's `input_linear.weight`, and only the library knows."""
    from app.core.estimates.shape import layer_names

    tensors = llama_tensors(LLAMA_7B)
    assert "model.layers.0.self_attn.q_proj" in layer_names(write(tmp_path, LLAMA_7B, tensors))

    convolution = {"model.layers.0.mixer.conv1d.weight": (8, 1, 4)}
    assert layer_names(write(tmp_path, LLAMA_7B, {**tensors, **convolution}))
    experts = {"model.layers.0.block_sparse_moe.input_linear.weight": (4, 16, 8)}
    assert layer_names(write(tmp_path, LLAMA_7B, {**tensors, **experts})) == ()

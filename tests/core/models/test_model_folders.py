"""A local model folder: what is read from it, and every reason to refuse it."""

import json
import os

import pytest

from app.core.models import ModelRefused, find_model, list_models
from app.core.models.folder import inspect
from tests.core.models.standins import CONFIG, frame, model_files, safetensors, write_model


def config(**changes):
    return json.dumps({**CONFIG, **changes}).encode()


def shards(index: dict | bytes, **files: bytes) -> dict[str, bytes | None]:
    content = index if isinstance(index, bytes) else json.dumps({"weight_map": index}).encode()
    first = {"model-00001-of-00002.safetensors": safetensors({"embed": [4]})}
    return {"model.safetensors": None, "model.safetensors.index.json": content, **first, **files}


def lie(**entry) -> bytes:
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **entry}
    return frame(json.dumps({"embed": tensor}).encode()) + bytes(8)


PICKLE = b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix."

# name: (changes to a good folder, None removes a file; the code it is refused with)
EVIL = {
    "code": ({"modeling_evil.py": b"import os"}, "model_has_code"),
    "code below": ({"sub/evil.PY": b"import os"}, "model_has_code"),
    "a library": ({"evil.so": b"\x7fELF"}, "model_has_code"),
    "a pickle .bin": ({"pytorch_model.bin": PICKLE}, "model_has_pickle"),
    "a pickle .pt": ({"model.pt": PICKLE}, "model_has_pickle"),
    "a pickle .pkl": ({"tokenizer.pkl": PICKLE}, "model_has_pickle"),
    "a pickle .ckpt": ({"last.ckpt": PICKLE}, "model_has_pickle"),
    "a pickle by another name": ({"vocab.txt": PICKLE}, "model_has_pickle"),
    "a zip by another name": ({"weights": b"PK\x03\x04archive/data.pkl"}, "model_has_pickle"),
    "auto_map in the config": (
        {"config.json": config(auto_map={"AutoConfig": "evil.Evil"})},
        "model_config_unsafe",
    ),
    "auto_map in the tokenizer's": (
        {"tokenizer_config.json": b'{"auto_map": {"AutoTokenizer": ["evil.Evil", null]}}'},
        "model_config_unsafe",
    ),
    "auto_map one level down": (
        {"config.json": config(text_config={"auto_map": {}})},
        "model_config_unsafe",
    ),
    "an attention from the hub": (
        {"config.json": config(_attn_implementation_internal="evil/kernel")},
        "model_config_unsafe",
    ),
    "a public attention from the hub": (
        {"config.json": config(attn_implementation="evil/kernel")},
        "model_config_unsafe",
    ),
    "experts from the hub": (
        {"config.json": config(experts_implementation="evil/kernel")},
        "model_config_unsafe",
    ),
    "a float that is none": (
        {"config.json": config(x={"__float__": "1e9"})},
        "model_config_unsafe",
    ),
    "a float that holds more": (
        {"config.json": config(x={"__float__": "NaN", "auto_map": {}})},
        "model_config_unsafe",
    ),
    "another private key": (
        {"config.json": config(sub=[{"_anything": 1}])},
        "model_config_unsafe",
    ),
    "a known private key that holds more": (
        {"config.json": config(_name_or_path={"x": 1})},
        "model_config_unsafe",
    ),
    "trust flipped": ({"config.json": config(trust_remote_code=True)}, "model_config_unsafe"),
    "quantized already": (
        {"config.json": config(quantization_config={"quant_method": "gptq"})},
        "model_quantized",
    ),
    "an encoder": (
        {"config.json": config(architectures=["BertForMaskedLM"])},
        "model_unsupported",
    ),
    "no kind": ({"config.json": b'{"architectures": ["LlamaForCausalLM"]}'}, "model_unsupported"),
    "no config": ({"config.json": None}, "model_incomplete"),
    "a config cut off": ({"config.json": b'{"model_type": '}, "model_config_bad"),
    "a config that is a list": ({"config.json": b"[]"}, "model_config_bad"),
    "a deep config": ({"config.json": b"[" * 100_000}, "model_config_bad"),
    "no tokenizer": ({"tokenizer.json": None}, "model_incomplete"),
    "no weights": ({"model.safetensors": None}, "model_incomplete"),
    "weights cut off": (
        {"model.safetensors": model_files()["model.safetensors"][:-1]},
        "model_weights_bad",
    ),
    "weights cut in the header": (
        {"model.safetensors": model_files()["model.safetensors"][:40]},
        "model_weights_bad",
    ),
    "empty weights": ({"model.safetensors": b""}, "model_weights_bad"),
    "more bytes than tensors": (
        {"model.safetensors": model_files()["model.safetensors"] + b"\0"},
        "model_weights_bad",
    ),
    "offsets beyond the file": (
        {"model.safetensors": lie(shape=[4], data_offsets=[0, 16])},
        "model_weights_bad",
    ),
    "offsets below zero": (
        {"model.safetensors": lie(data_offsets=[-8, 0])},
        "model_weights_bad",
    ),
    "a shape that lies": ({"model.safetensors": lie(shape=[3])}, "model_weights_bad"),
    "a shape of floats": ({"model.safetensors": lie(shape=[2.0])}, "model_weights_bad"),
    "a type nobody knows": ({"model.safetensors": lie(dtype="X9")}, "model_weights_bad"),
    "a header that is no JSON": ({"model.safetensors": frame(b"{nonsense")}, "model_weights_bad"),
    "a header that is a list": ({"model.safetensors": frame(b"[[1, 2]]")}, "model_weights_bad"),
    "no tensors": ({"model.safetensors": frame(b"{        }")}, "model_weights_bad"),
    "an index that leaves the folder": (
        shards({"embed": "../../other/model.safetensors"}),
        "model_weights_bad",
    ),
    "an index to a pickle": (shards({"embed": "pytorch_model.bin"}), "model_weights_bad"),
    "an index of a file that is not there": (
        shards({"embed": "model-00001-of-00002.safetensors", "x": "model-2.safetensors"}),
        "model_incomplete",
    ),
    "an index of a tensor that is not there": (
        shards(
            {"embed": "model-00001-of-00002.safetensors", "x": "model-00001-of-00002.safetensors"}
        ),
        "model_weights_bad",
    ),
    "an index without a map": (shards(b"{}"), "model_weights_bad"),
    "an index of numbers": (shards({"embed": 7}), "model_weights_bad"),
}


def make(settings, changes, name="tiny"):
    files = {**model_files(), **changes}
    kept = {file: content for file, content in files.items() if content is not None}
    return write_model(settings.models_dir / name, kept)


@pytest.mark.parametrize("case", EVIL)
def test_an_evil_or_broken_folder_is_refused_with_its_reason(case, settings):
    changes, code = EVIL[case]
    make(settings, changes)

    with pytest.raises(ModelRefused) as refused:
        find_model(settings, "tiny")

    assert {problem.code for problem in refused.value.errors} == {code}
    assert all(problem.pointer == "/model" for problem in refused.value.errors)
    [listed] = list_models(settings)
    assert listed.problems == refused.value.errors


def test_a_good_folder_tells_its_size(settings):
    folder = make(settings, {})

    model = find_model(settings, "tiny")

    assert (model.id, model.path, model.revision, model.problems) == ("tiny", folder, None, ())
    assert (model.num_parameters, model.max_length, model.vocab_size) == (512 * 8 + 8, 2048, 512)
    assert model.architecture == "LlamaForCausalLM"


@pytest.mark.parametrize(
    "more",
    [
        {"time_step_limit": [0.0, {"__float__": "Infinity"}]},
        {"floor": {"__float__": "-Infinity"}, "text_config": {"top": {"__float__": "NaN"}}},
        {"_remove_final_layer_norm": True},
        {"vision_config": {"_out_features": ["stage1"], "_out_indices": [1]}},
        {"attn_implementation": "flash_attention_2"},
    ],
)
def test_odd_keys_that_transformers_writes_are_accepted(settings, more):
    write_model(settings.models_dir / "good", model_files() | {"config.json": config(**more)})

    assert find_model(settings, "good").problems == ()


def test_a_good_sharded_folder_is_counted_whole(settings):
    name = "model-0000{}-of-00002.safetensors"
    index = {"embed": name.format(1), "head": name.format(2)}
    make(settings, shards(index, **{name.format(2): safetensors({"head": [3, 5]})}))

    assert find_model(settings, "tiny").num_parameters == 4 + 15


def test_a_model_of_several_kinds_of_input_tells_its_text_part(settings):
    text = {"max_position_embeddings": 77, "vocab_size": 5}
    make(
        settings,
        {"config.json": json.dumps({"model_type": "gemma3", "text_config": text}).encode()},
    )

    model = find_model(settings, "tiny")

    assert (model.max_length, model.vocab_size, model.architecture) == (77, 5, None)


def test_numbers_nobody_wrote_are_none(settings):
    make(settings, {"config.json": b'{"model_type": "llama", "vocab_size": "512"}'})

    model = find_model(settings, "tiny")

    assert (model.max_length, model.vocab_size) == (None, None)


def test_a_header_over_100_megabytes_is_not_read(settings):
    folder = make(settings, {})
    with (folder / "model.safetensors").open("wb") as file:
        file.write((100_000_001).to_bytes(8, "little"))
        file.truncate(200_000_000)

    with pytest.raises(ModelRefused, match="100 MB"):
        find_model(settings, "tiny")


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside.json", "nowhere/at/all"])
def test_a_link_out_of_the_folder_is_refused(target, settings):
    folder = make(settings, {})
    (settings.models_dir / "outside.json").write_text("{}")
    (folder / "generation_config.json").symlink_to(target)

    with pytest.raises(ModelRefused) as refused:
        find_model(settings, "tiny")

    assert "model_link" in {problem.code for problem in refused.value.errors}


def test_a_linked_folder_inside_is_refused_too(settings, tmp_path):
    folder = make(settings, {})
    (folder / "sub").symlink_to(tmp_path)

    with pytest.raises(ModelRefused, match="leaves the folder"):
        find_model(settings, "tiny")


def test_a_pipe_in_a_folder_hangs_nobody(settings):
    folder = make(settings, {})
    os.mkfifo(folder / "model-2.safetensors")

    with pytest.raises(ModelRefused, match="not a plain file"):
        find_model(settings, "tiny")


def test_a_link_to_a_model_folder_elsewhere_is_the_operators_choice(settings, tmp_path):
    elsewhere = write_model(tmp_path / "disk" / "big")
    (settings.models_dir / "big").symlink_to(elsewhere)

    assert find_model(settings, "big").problems == ()


def test_a_changed_weights_file_is_read_again(settings):
    folder = make(settings, {})
    assert find_model(settings, "tiny").num_parameters == 512 * 8 + 8

    (folder / "model.safetensors").write_bytes(safetensors({"embed": [7]}))

    assert find_model(settings, "tiny").num_parameters == 7


@pytest.mark.parametrize(
    ("added", "has_one"),
    [
        ({}, False),
        ({"chat_template.jinja": b"{{ messages }}"}, True),
        ({"tokenizer_config.json": b'{"chat_template": "{{ messages }}"}'}, True),
        ({"tokenizer_config.json": b'{"chat_template": null}'}, False),
        ({"tokenizer_config.json": b"[]"}, False),
    ],
)
def test_a_chat_template_is_found_in_a_file_of_its_own_or_the_tokenizers(tmp_path, added, has_one):
    folder = write_model(tmp_path / "base", {**model_files(), **added})

    assert inspect("base", folder).has_chat_template is has_one

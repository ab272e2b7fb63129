"""Which model a name means, and the error for an unknown name."""

import pytest

from app.core.errors import Invalid
from app.core.models import UnknownModel, fetch_model, find_model, list_models
from tests.core.models.standins import COMMIT, write_model

OTHER = "b" * 40


def allowing(settings, *entries):
    return settings.model_copy(update={"allowed_models": frozenset(entries)})


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        "",
        "/",
        "../models/tiny",
        "tiny/",
        "tiny/../tiny",
        "./tiny",
        "/etc",
        "tiny\0",
        "tiny\0.json",
        "TINY",
        ".hidden",
        "a" * 5_000,
        "tiny\n",
        "owner/..",
        "../..",
        "\udcff",
        "\u202etiny",
        "C:\\tiny",
        "https://evil.example/tiny",
        "file:///etc",
    ],
)
def test_a_name_is_never_a_path(name, settings):
    write_model(settings.models_dir / "tiny")
    write_model(settings.models_dir / ".hidden")

    with pytest.raises(UnknownModel) as unknown:
        fetch_model(settings, name)

    [problem] = unknown.value.errors
    assert (problem.pointer, problem.code) == ("/model", "model_unknown")
    assert problem.message.isascii()
    assert problem.message.isprintable()


def test_the_nearest_names_are_told(settings):
    write_model(settings.models_dir / "tiny-llama")

    with pytest.raises(UnknownModel, match="Did you mean `tiny-llama`"):
        find_model(settings, "tiny-lama")


def test_a_hub_id_that_is_not_allowed_is_told_how_to_allow_it(settings):
    with pytest.raises(UnknownModel, match="TUNESMITH_ALLOWED_MODELS") as unknown:
        find_model(settings, "Qwen/Qwen3-0.6B")

    assert "MODELS_DIR" in unknown.value.errors[0].hint


@pytest.mark.parametrize(
    ("entries", "revision", "code"),
    [
        (["team/small"], None, "model_revision_required"),
        (["team/small"], "main", "model_revision_required"),
        (["team/small"], "A" * 40, "model_revision_required"),
        ([f"team/small@{COMMIT}", f"team/small@{OTHER}"], None, "model_revision_required"),
        ([f"team/small@{COMMIT}"], OTHER, "model_revision_not_allowed"),
    ],
)
def test_a_hub_model_needs_a_commit_that_is_allowed(entries, revision, code, settings):
    with pytest.raises(Invalid) as refused:
        find_model(allowing(settings, *entries), "team/small", revision)

    assert [(p.pointer, p.code) for p in refused.value.errors] == [("/model_revision", code)]


@pytest.mark.parametrize(
    ("entries", "revision", "expected"),
    [
        (["team/small"], OTHER, OTHER),
        ([f"team/small@{COMMIT}"], None, COMMIT),
        ([f"team/small@{COMMIT}"], COMMIT, COMMIT),
        ([f"team/small@{COMMIT}", f"team/small@{OTHER}"], OTHER, OTHER),
    ],
)
def test_an_allowed_commit_is_found_before_it_is_fetched(entries, revision, expected, settings):
    model = find_model(allowing(settings, *entries), "team/small", revision)

    assert (model.id, model.path, model.revision) == ("team/small", None, expected)


def test_a_local_folder_takes_no_revision(settings):
    write_model(settings.models_dir / "tiny")

    with pytest.raises(Invalid) as refused:
        find_model(settings, "tiny", COMMIT)

    assert refused.value.errors[0].pointer == "/model_revision"


def test_the_list_holds_folders_hub_ids_and_entries_that_are_wrong(settings):
    write_model(settings.models_dir / "tiny")
    (settings.models_dir / "README.md").write_text("not a model")
    listed = list_models(
        allowing(settings, "team/small", f"team/big@{COMMIT}", "no-owner", "a/b@main", "../x/y")
    )

    assert [(m.id, m.revision, bool(m.problems)) for m in listed] == [
        ("tiny", None, False),
        ("team/big", COMMIT, False),
        ("team/small", None, False),
        ("../x/y", None, True),
        ("a/b@main", None, True),
        ("no-owner", None, True),
    ]


def test_a_models_folder_that_is_not_there_is_an_empty_list(settings, tmp_path):
    nowhere = settings.model_copy(update={"models_dir": tmp_path / "nowhere"})

    assert list_models(nowhere) == []

"""The order in which a training made its models, by what files and names tell of it."""

from pathlib import Path

import pytest

from icshift.saved.order import SavedModel, in_order, is_numbered, labelled, same_moment, word


def models(*names, within=Path("run"), **progress):
    """Saved models by name; `epoch` and `step` hold what some of them store."""
    return [
        SavedModel(
            Path("run") / name,
            "torch",
            name,
            progress.get("epoch", {}).get(name),
            progress.get("step", {}).get(name),
            within,
        )
        for name in names
    ]


def names(found):
    return [model.path.name for model in found]


@pytest.mark.parametrize(
    ("given", "placed", "placeless"),
    [
        ("epoch_10.pt epoch_2.pt", "epoch_2.pt epoch_10.pt", ""),
        ("best.pt epoch_2.pt epoch_10.pt final.pt init.pt", "init.pt epoch_2.pt epoch_10.pt final.pt", "best.pt"),
        ("model_0004.pth model_0012.pth model_final.pth", "model_0004.pth model_0012.pth model_final.pth", ""),
        ("best.pt last.pt", "best.pt last.pt", ""),
        ("modelBest.pt net-1.pt net-2.pt", "net-1.pt net-2.pt", "modelBest.pt"),
        ("best_93.pt e1.pt e2.pt", "e1.pt e2.pt", "best_93.pt"),
        ("weights.pt e1.pt e2.pt", "e1.pt e2.pt", "weights.pt"),
        ("bestiary_1.pt bestiary_2.pt", "bestiary_1.pt bestiary_2.pt", ""),
        ("epoch=2-loss=0.31.ckpt epoch=10-loss=0.3.ckpt", "epoch=2-loss=0.31.ckpt epoch=10-loss=0.3.ckpt", ""),
        ("alone.pt", "alone.pt", ""),
    ],
)
def test_numbers_tell_the_order_and_words_where_there_is_none(given, placed, placeless):
    found = in_order(models(*given.split()))
    assert (names(found.models), names(found.placeless), found.told) == (placed.split(), placeless.split(), True)


@pytest.mark.parametrize("given", ["a.pt b.pt", "loss=0.31.pt loss=0.4.pt", "best_a.pt best_b.pt", "a.pt best.pt"])
def test_an_order_of_names_alone_is_not_called_that_of_the_training(given):
    found = in_order(models(*reversed(given.split())))
    assert (names(found.models), found.placeless, found.told) == (given.split(), [], False)


def test_paths_that_were_named_keep_their_order_where_nothing_tells_one():
    assert names(in_order(models("start.pt", "end.pt", within=None)).models) == ["start.pt", "end.pt"]
    assert names(in_order(models("b.pt", "a.pt", within=None)).models) == ["b.pt", "a.pt"]
    assert names(in_order(models("e2.pt", "e1.pt", within=None)).models) == ["e1.pt", "e2.pt"]


def test_what_is_stored_counts_for_more_than_names():
    stored = {"a.pt": 7, "best.pt": 2, "last.pt": 9}
    found = in_order(models("a.pt", "best.pt", "last.pt", epoch=stored))
    assert (names(found.models), found.placeless, found.told) == (["best.pt", "a.pt", "last.pt"], [], True)


def test_a_step_that_never_counted_tells_nothing():
    found = in_order(models("e10.pt", "e2.pt", step={"e10.pt": 0, "e2.pt": 0}))
    assert (names(found.models), found.told) == (["e2.pt", "e10.pt"], True)


def test_a_word_places_what_stores_nothing_beside_models_that_do():
    stored = {"b.pt": 1, "a.pt": 2, "best.pt": 1.5}
    found = in_order(models("a.pt", "b.pt", "best.pt", "final.pt", "ema_best.pt", epoch=stored))
    assert names(found.models) == ["b.pt", "best.pt", "a.pt", "final.pt"]
    assert names(found.placeless) == ["ema_best.pt"]


def test_a_directory_around_the_others_has_no_place_by_its_own_number():
    around = SavedModel(Path("run2"), "huggingface", "run2", within=Path("run2"))
    inner = [
        SavedModel(Path("run2") / f"checkpoint-{step}", "huggingface", "c", within=Path("run2")) for step in (4, 8)
    ]
    found = in_order([around, *inner])
    assert (found.models, found.placeless) == (inner, [around])
    assert not is_numbered(around)


def test_directories_tell_models_of_one_name_apart():
    listed = [SavedModel(Path(f"epoch-{epoch}/model.pt"), "torch", "m") for epoch in (10, 2)]
    found = in_order(listed)
    assert (found.models, found.told) == (listed[::-1], True)
    assert [model.label for model in labelled(found.models)] == ["epoch-2/model.pt", "epoch-10/model.pt"]


@pytest.mark.parametrize(
    ("stored", "one", "other", "same"),
    [
        ({"epoch": {"a.pt": 1, "b.pt": 1}}, "a.pt", "b.pt", True),
        ({"epoch": {"a.pt": 1, "b.pt": 2}}, "a.pt", "b.pt", False),
        ({"epoch": {"a.pt": 1, "b.pt": 1}, "step": {"a.pt": 4, "b.pt": 8}}, "a.pt", "b.pt", False),
        ({"epoch": {"a.pt": 1}}, "a.pt", "b.pt", None),
        ({"epoch": {"a.pt": 1, "b.pt": 1}, "step": {"a.pt": 4}}, "a.pt", "b.pt", True),
        ({"step": {"e1.pt": 0, "e2.pt": 0}}, "e1.pt", "e2.pt", None),
        ({}, "e1.pt", "e2.pt", False),
        ({}, "e1.pt", "last.pt", None),
        ({}, "best_0.93.pt", "e12.pt", None),
    ],
)
def test_the_moments_of_two_models(stored, one, other, same):
    assert same_moment(*models(one, other, **stored)) is same


def test_words_in_names():
    listed = models("Last.ckpt", "model_best.pth.tar", "initial-weights.pt", "finally.pt")
    assert list(map(word, listed)) == ["last", "best", "first", ""]

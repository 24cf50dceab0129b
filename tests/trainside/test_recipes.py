"""Recipes: the paper's values, and values that make no sense."""

import dataclasses

import pytest

from clipedge.jetson.errors import UsageError
from clipedge.trainside.cli import build_parser
from clipedge.trainside.recipes import RECIPES, Recipe, recipe_with

PAPER = ("paper-jester", "paper-kinetics600", "paper-ucf101-finetune")


@pytest.mark.parametrize("name", PAPER)
def test_what_the_paper_says_of_all_its_data_sets_is_kept(name):
    recipe = RECIPES[name]
    assert (recipe.optimizer, recipe.momentum, recipe.dampening) == ("sgd", 0.9, 0.9)
    assert recipe.weight_decay == 1e-3
    assert recipe.batch == 128
    assert recipe.scales == pytest.approx([1, 0.840896, 0.707107, 0.594604, 0.5], abs=1e-6)
    assert recipe.std == (1.0, 1.0, 1.0)
    assert not recipe.colour
    assert not recipe.head_start


@pytest.mark.parametrize("name", PAPER[:2])
def test_from_scratch_the_learning_rate_falls_three_times_where_the_loss_converges(name):
    recipe = RECIPES[name]
    assert (recipe.learning_rate, recipe.schedule) == (0.1, "plateau")
    assert recipe.dropout == 0.2
    assert recipe.freeze == "none"
    # A fall comes after patience + 1 epochs without a lower loss; the third must not be cut off.
    assert recipe.stop_after > 3 * (recipe.patience + 1)


def test_ucf101_trains_the_last_layer_for_sixty_epochs_with_two_falls():
    recipe = RECIPES["paper-ucf101-finetune"]
    assert (recipe.learning_rate, recipe.schedule) == (0.01, "steps")
    assert recipe.milestones == (30, 45)
    assert recipe.epochs == 60
    assert recipe.dropout == 0.9
    assert recipe.freeze == "backbone"
    assert recipe.stop_after == 0


def test_every_value_of_a_recipe_but_std_has_a_flag():
    fields = {field.name for field in dataclasses.fields(Recipe)} - {"std"}
    assert fields <= set(vars(build_parser().parse_args(["fit"])))


def test_the_command_knows_every_recipe():
    for name in RECIPES:
        assert build_parser().parse_args(["fit", "--recipe", name]).recipe == name


def test_a_value_of_nothing_changes_the_recipe_and_one_not_given_does_not():
    recipe = recipe_with("paper-jester", {"stop_after": 0, "dropout": 0.0, "epochs": None})
    assert (recipe.stop_after, recipe.dropout) == (0, 0.0)
    assert recipe.epochs == RECIPES["paper-jester"].epochs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 1}, "2 or more"),
        ({"scales": [1.0, 1.2]}, "up to 1"),
        ({"schedule": "steps"}, "--milestones"),
        ({"dropout": 1.0}, "below 1"),
        ({"learning_rate": 1e40}, "too high"),
    ],
)
def test_values_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        recipe_with("quick", changes)


def test_an_unknown_recipe_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean paper-jester"):
        recipe_with("paper-jestr", {})

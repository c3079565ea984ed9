"""What a run of membership inference would do, said before it does anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fl_sim.errors import DataError
from judges.bench.forecast import Fact, central_seconds, federation_seconds, reading, several, there, trainings_take
from judges.bench.membership.jobs import NULL, TARGET, Recipe, shadow_of
from judges.bench.membership.run import INFERENCES, asked_of
from judges.bench.membership.shadows import ShadowFederation
from judges.plans.membership import MemberPlan, MembershipPlan
from judges.runs.rows.classes import CENTRAL, FEDERATION


def forecast_memberships(plan: MembershipPlan, folder: Path, *, given: bool = False) -> Iterator[Fact]:
    """Yield what an experiment of membership inference would do in a folder; `given`: its federations are trained."""
    models = sum(len(one.seeds) for one in plan.targets)
    central = plan.base.target == CENTRAL
    kinds = "model" if central else "federation"
    yield "experiment", f"{plan.base.name}: {several(models, kinds)} to attack, {several(len(plan.cells), 'cell')}"
    answers = 2 * sum(len(one.seeds) * len(plan.attacks_on(one)) for one in plan.targets)
    found = sum(1 for _ in folder.glob(f"{INFERENCES}/**/*.safetensors"))
    yield "folder", there(folder, found, answers) if central else f"{folder}: {found} answers there"
    for name in dict.fromkeys(one.config.dataset.name for one in plan.targets):
        config = next(one.config for one in plan.targets if one.config.dataset.name == name)
        yield f"data {name}", reading(config)[1]
    yield "candidates", _asked(plan)
    for one in plan.targets:
        yield f"target {one.label}", _trainings(plan, one, folder)
    yield "time", trainings_take(_seconds(plan, folder, given=given), "attacks")


def _asked(plan: MembershipPlan) -> str:
    """Return how many candidates there are, and what cannot be told of so few."""
    others = plan.base.candidates // 2
    least = "" if others >= 1000 else "; too few to tell true positives at 0.1 % of false ones, which take 1,000 others"
    return f"{plan.base.candidates:,}, {others:,} of them no members, and {plan.base.own:,} auxiliary examples{least}"


def _seconds(plan: MembershipPlan, folder: Path, *, given: bool) -> float | None:
    """Return about how long the trainings take that are not in the cache, on one core; None without the data."""
    seconds = 0.0
    try:
        for one in plan.targets:
            config = one.config
            recipes, dataset = _recipes(plan, one, folder), config.dataset.load()
            lacking = [_examples_of(recipe) for recipe in recipes if not recipe.kept]
            if lacking:
                trained = federation_seconds if config.shadow_training == FEDERATION else central_seconds
                one_of_each = {count: trained(config, dataset, count) for count in set(lacking)}
                seconds += sum(one_of_each[count] for count in lacking)
            if config.target == FEDERATION and not given:
                seconds += len(one.seeds) * federation_seconds(config, dataset)
    except DataError:
        return None
    return seconds


def _examples_of(recipe: Recipe | ShadowFederation) -> int:
    """Return how many examples a model is trained on."""
    return len(recipe.dataset.train) if isinstance(recipe, Recipe) else recipe.config.own // 2


def _recipes(plan: MembershipPlan, one: MemberPlan, folder: Path) -> list[Recipe | ShadowFederation]:
    """Return the models of one kind that are trained besides federations under attack, shadow models first."""
    asked = [asked_of(one, seed, folder) for seed in one.seeds]
    recipes = [shadow_of(one.config, asked[0], number, online=online) for number, online in plan.shadows_of(one)]
    if one.config.target == CENTRAL:
        recipes += [Recipe(one.config, each, kind) for each in asked for kind in (TARGET, NULL)]
    return recipes


def _trainings(plan: MembershipPlan, one: MemberPlan, folder: Path) -> str:
    """Return how many models of one kind are trained, and how many of them are in the cache."""
    shadows, recipes = plan.shadows_of(one), _recipes(plan, one, folder)
    told = f"{several(len(one.seeds), 'federation')}, "
    if one.config.target == CENTRAL:
        told = f"{several(len(one.seeds), 'target')} and as many that never see a candidate, "
    if not recipes:
        return f"{told}no shadow models"
    try:
        kept = sum(recipe.kept for recipe in recipes)
    except DataError:
        return f"{told}{several(len(shadows), 'shadow model')}"
    federated = one.config.shadow_training == FEDERATION
    trained = (
        several(one.config.federation.rounds, "round") if federated else several(one.config.training.epochs, "epoch")
    )
    return f"{told}{several(len(shadows), 'shadow model')}: {kept} of {len(recipes)} in the cache, each of {trained}"

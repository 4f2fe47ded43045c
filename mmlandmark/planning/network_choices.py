"""The decisions of a plan that depend on time and memory: a few trainings are measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mmlandmark.planning import budget_rules, rules, self_training_rules, spacing_rules
from mmlandmark.planning.budget_rules import Network, Speed
from mmlandmark.planning.choice import Choice
from mmlandmark.planning.planner import Plan
from mmlandmark.planning.unlabelled import UnlabelledImages

Measure = Callable[[Plan, Sequence[str]], Speed]
_TRIALS = 2  # sizes that are measured beyond the probes
_COARSE_SHARE = 0.5  # of the time, for the first of two stages
_VALIDATIONS = {True: 1, False: 4}  # of a second stage, which looks at a patch per landmark, and of others


def decide_network(plan: Plan, measure: Measure) -> None:
    """Add the decisions that depend on time and memory; a few sizes are measured.

    Args:
        plan: With everything else decided.
        measure: Returns the speed of a plan for some samples of the training part.
    """
    data, answers = plan.fingerprint, plan.answers
    images, minutes = len(plan.parts["train"]), answers.minutes
    if plan.unlabelled is not None:
        minutes *= self_training_rules.SHARES["pre_train"]
    start = budget_rules.choose_start(data.median_size, minutes, images, answers.published_weights)
    plan.choices["start"] = start
    if start.value:
        plan.choices["normalisation"] = Choice(dict(mean=0.498, std=0.502), "as the weights expect it")
    search = _Search(plan, measure)
    network, why = search.largest(minutes)
    if network.spacing is not None and plan.unlabelled is not None:
        plan.choices["stages"] = Choice(1, "self-training looks at whole volumes")
    elif network.spacing is not None:
        half = search.largest(_COARSE_SHARE * minutes, spacing_rules.ENOUGH_VOLUMES)
        seen = search.images_seen(half[0], _COARSE_SHARE * minutes)
        stages = spacing_rules.choose_stages(network.spacing, plan.choices["voxel"].value, seen)
        plan.choices["stages"] = stages
        if stages.value == 2:
            minutes *= _COARSE_SHARE
            network, why = half
    plan.choices.update(_network_choices(plan, network))
    plan.choices["size"] = Choice(list(network.size), _with_size(network, plan, why))
    speed = search.measured[network.size]
    plan.minutes = _add_epochs(plan, plan.choices, speed, minutes)
    if plan.unlabelled is not None:
        _decide_self_training(plan, plan.unlabelled, speed)
    elif network.spacing is not None and plan.choices["stages"].value == 2:
        _decide_fine(plan, network.spacing, measure, answers.minutes - plan.minutes)


class _Search:
    """The search for the largest input that a time allows.

    Args:
        plan: With everything else decided.
        measure: See :func:`decide_network`.

    Attributes:
        measured: Speeds by input size.
    """

    def __init__(self, plan: Plan, measure: Measure) -> None:
        self.plan, self._measure = plan, measure
        self.measured: dict[tuple[int, ...], Speed] = {}
        self.networks, self._finest = _candidates(plan)

    def largest(self, minutes: float, enough: int = budget_rules.ENOUGH_IMAGES) -> tuple[Network, str]:
        """Return the network that sees enough images in so many minutes, which was measured, and why."""
        for network in budget_rules.probes(self.networks):
            self._measure_once(network.size)
        for _ in range(_TRIALS):
            size = self._choose(budget_rules.seconds_per_image(self.networks, self.measured), minutes, enough)
            if size.value in self.measured:
                break
            self._measure_once(size.value)
        # The last size may have been slower than expected: what is chosen was measured.
        seconds = {size: speed.iteration / speed.batch for size, speed in self.measured.items()}
        size = self._choose(seconds, minutes, enough)
        return self._network(size.value), size.why

    def images_seen(self, network: Network, minutes: float) -> int:
        """Return how many images are seen in so many minutes of a training that was measured."""
        speed = self.measured[network.size]
        return int(60 * minutes / speed.iteration * speed.batch)

    def _choose(self, seconds: dict[tuple[int, ...], float], minutes: float, enough: int) -> Choice:
        images = len(self.plan.parts["train"])
        return budget_rules.choose_size(self.networks, seconds, minutes, images, self._finest, enough)

    def _network(self, size: tuple[int, ...]) -> Network:
        return next(network for network in self.networks if network.size == size)

    def _measure_once(self, size: tuple[int, ...]) -> None:
        if size not in self.measured:
            self.plan.choices.update(_network_choices(self.plan, self._network(size)))
            self.measured[size] = self._measure(self.plan, self.plan.parts["train"])


def _candidates(plan: Plan) -> tuple[list[Network], str]:
    """Return the networks that the plan may choose from, small to large, and why there is no larger one."""
    data, channels = plan.fingerprint, plan.choices["channels"].value
    count, memory = len(data.landmarks), plan.answers.memory
    if data.extent is None:
        stem, published = budget_rules.choose_stem(data.median_size), plan.choices["start"].value
        sizes = budget_rules.input_sizes(data.median_size)
        networks = [budget_rules.network_for(size, channels, count, stem, published) for size in sizes]
        return networks, "as large as the images are good for"
    grids = spacing_rules.input_grids(plan.choices["voxel"].value, data.extent)
    networks = [budget_rules.network_for(g.size, channels, count, spacing=g.spacing) for g in grids]
    largest = math.prod(data.largest_size) / math.prod(data.median_size)
    if plan.unlabelled is not None:
        largest = max(largest, plan.unlabelled.largest_volume / math.prod(data.extent))
    fitting = budget_rules.fitting_networks(networks, memory, largest)
    if len(fitting) < len(networks):
        return fitting, f"finer voxels of the largest volume take more than half of {memory / 2**30:.3g} GB"
    return networks, "the voxels of the volumes themselves"


def _network_choices(plan: Plan, network: Network, patch: bool = False) -> dict[str, Choice]:
    """Return the decisions that follow from a network; size and schedule are those of a trial."""
    images, data = len(plan.parts["train"]), plan.fingerprint
    choices = {}
    if network.spacing is None:
        loaded = rules.choose_loaded_size(network.size, data.largest_size)
        sigma = budget_rules.choose_sigma(network)
        choices["aspect"] = rules.choose_aspect(data.aspect_spread, network.size, data.median_size)
    else:
        assert data.spacing is not None
        loaded = spacing_rules.choose_loaded_size(network.spacing, data.spacing, data.largest_size)
        sigma = spacing_rules.choose_peak(network.size, network.spacing)
        choices["spacing"] = Choice(list(network.spacing), "a trial")
    channels = plan.choices["channels"].value
    size = loaded.value or data.largest_size
    choices.update(
        size=Choice(list(network.size), "a trial"),
        network=budget_rules.describe_network(network),
        sigma=sigma,
        batch=budget_rules.choose_batch(network, plan.answers.memory, images),
        loaded=loaded,
        cache=rules.choose_cache(images, size, channels, data.bits, plan.answers.memory),
        epochs=Choice(1, "a trial"),
        schedule=Choice(budget_rules.choose_schedule(network.dims, 1), "a trial"),
    )
    if patch:
        choices["patch"] = Choice(list(network.size), "a trial")
    return choices


def _validated(plan: Plan) -> int:
    """Return the number of images that a validation looks at."""
    images = {part: len(ids) for part, ids in plan.parts.items()}
    return images.get("val", images.get("test", 0))


def _decide_self_training(plan: Plan, there: UnlabelledImages, speed: Speed) -> None:
    """Add the decisions on self-training and fine-tuning, which have the rest of the time."""
    images, validated, total = len(plan.parts["train"]), _validated(plan), plan.answers.minutes
    epoch = math.ceil(images / speed.batch) * speed.iteration
    supervised = budget_rules.fixed_seconds(speed, images, validated) + epoch
    few = min(len(there.ids), self_training_rules.FEWEST_IMAGES)
    shortest = self_training_rules.shortest(speed, few, validated)
    least = dict(pre_train=supervised, self_train=shortest, fine_tune=supervised)
    self_training_rules.check_minutes(total, least)
    shares = self_training_rules.SHARES
    rest = total - plan.minutes
    minutes = rest * shares["self_train"] / (shares["self_train"] + shares["fine_tune"])
    used = self_training_rules.choose_images(speed, minutes, len(there.ids), validated)
    drawn = np.random.default_rng(plan.answers.seed).permutation(len(there.ids))[: used.value]
    plan.unlabelled = replace(there, ids=[there.ids[n] for n in sorted(drawn)])
    seen = self_training_rules.seen_per_epoch(used.value)
    labelling = self_training_rules.labelling_seconds(speed, used.value)
    rounds, taken = budget_rules.choose_epochs(speed, minutes, seen, validated, between=labelling)
    tuning, more = budget_rules.choose_epochs(speed, rest - taken, images, validated)
    plan.minutes += taken + more
    data, channels = plan.fingerprint, plan.choices["channels"].value
    size = plan.choices["loaded"].value or data.largest_size
    given = {key: plan.dataset[key] for key in ("spacing",) if key in plan.dataset}
    images_of = dict(type="ImageFolderDataset", image_dir=str(there.folder), **given)
    plan.labels["images"] = Choice(images_of, used.why)
    plan.labels["cache"] = rules.choose_cache(used.value, size, channels, data.bits, plan.answers.memory)
    for stage, epochs in (("self_train", rounds), ("fine_tune", tuning)):
        schedule = budget_rules.choose_schedule(data.dims, epochs.value)
        plan.labels[stage] = epochs
        plan.labels[f"{stage}_schedule"] = Choice(schedule, "a cycle of a small learning rate")


def _add_epochs(plan: Plan, choices: dict[str, Choice], speed: Speed, minutes: float) -> float:
    """Add the schedule of a stage to its choices; return the minutes that it is expected to take."""
    pieces = len(plan.fingerprint.landmarks) if "patch" in choices else 1
    validations = _VALIDATIONS["patch" in choices]
    epochs, expected = budget_rules.choose_epochs(
        speed, minutes, len(plan.parts["train"]), _validated(plan), validations, pieces
    )
    schedule = budget_rules.choose_schedule(len(plan.fingerprint.median_size), epochs.value, validations)
    choices["epochs"] = epochs
    choices["schedule"] = Choice(schedule, "one cycle of the learning rate over the whole training")
    return expected


def _decide_fine(plan: Plan, coarse: Sequence[float], measure: Measure, minutes: float) -> None:
    """Add the decisions on the second stage: patches of finer voxels about every landmark."""
    data = plan.fingerprint
    assert data.extent is not None
    grid = spacing_rules.choose_patch(coarse, plan.choices["voxel"].value, data.extent)
    channels, count = plan.choices["channels"].value, len(data.landmarks)
    network = budget_rules.network_for(grid.size, channels, count, spacing=grid.spacing)
    fine = _network_choices(plan, network, patch=True)
    fine["align"] = spacing_rules.choose_alignment(grid, count)
    speed = measure(replace(plan, choices={**plan.choices, **fine}), plan.parts["train"])
    shown, mm = "x".join(map(str, grid.size)), _shown(grid.spacing)
    fine["size"] = Choice(
        list(grid.size),
        f"patches of {shown} voxels of {mm} mm: about three coarse voxels in every direction from the place "
        "that the first stage finds",
    )
    fine["shrink"] = Choice(
        [round(c / f, 4) for c, f in zip(coarse, grid.spacing, strict=True)],
        "coarse voxels over fine ones",
    )
    plan.minutes += _add_epochs(plan, fine, speed, minutes)
    plan.fine = fine


def _with_size(network: Network, plan: Plan, why: str) -> str:
    middle = plan.fingerprint.median_size
    shown, whole = ("x".join(map(str, size)) for size in (network.size, middle))
    if network.spacing is None:
        return f"{shown}, {max(network.size) / max(middle):.0%} of the median image of {whole}; {why}"
    mm = _shown(network.spacing)
    return f"voxels of {mm} mm, {shown} of them in the median volume, which has {whole}; {why}"


def _shown(spacing: Sequence[float]) -> str:
    return " x ".join(f"{mm:g}" for mm in dict.fromkeys(spacing))

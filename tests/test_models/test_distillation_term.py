"""Distillation terms: what is compared, and how much it counts."""

import pytest

from mmlandmark.models.losses import DistillationTerm, EWCLoss, FeatureMSELoss

PAIRS = [("backbone.up1", "backbone.up2")]


def test_weights_are_interpolated_between_epochs():
    term = DistillationTerm(FeatureMSELoss(), PAIRS, [(0, 0.0), (10, 1.0), (20, 0.5)])
    assert [term.weight(epoch) for epoch in (0, 5, 10, 15, 20, 99)] == [0.0, 0.5, 1.0, 0.75, 0.5, 0.5]
    assert DistillationTerm(FeatureMSELoss(), PAIRS, 0.3).weight(7) == 0.3
    assert DistillationTerm(EWCLoss()).weight(0) == 1.0


def test_a_term_from_a_config():
    term = DistillationTerm.from_config(dict(loss=dict(type="FeatureMSELoss"), pairs=PAIRS, weight=2), 0)
    assert (term.name, term.pairs, term.weight(3)) == ("featuremse", PAIRS, 2.0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(pairs=PAIRS), r"term 3 needs a loss; it has \['pairs'\]"),
        (dict(loss=dict(type="EWCLoss"), factor=1), "term 3 takes loss, pairs and weight, not factor"),
        (dict(loss=dict(type="UNet")), "UNet cannot be a distillation term"),
        (dict(loss=dict(type="IntegralL1Loss")), "IntegralL1Loss cannot be a distillation term: it compares"),
        (
            dict(loss=dict(type="RegionAttentionLoss")),
            "maps with the annotated landmarks, whatever",
        ),
        (
            dict(loss=dict(type="OffsetL1Loss")),
            "give it to the head, and the term a loss such",
        ),
        (dict(loss=dict(type="FeatureMSELoss")), "FeatureMSELoss compares features: give pairs"),
        (dict(loss=dict(type="EWCLoss"), pairs=PAIRS), "EWCLoss compares the heatmaps of both models"),
        (dict(loss=dict(type="FeatureMSELoss"), pairs=["up1"]), "pairs must be"),
        (dict(loss=dict(type="EWCLoss"), weight=[]), "growing epochs"),
        (dict(loss=dict(type="EWCLoss"), weight=[(5, 1.0), (0, 0.0)]), "growing epochs"),
        (dict(loss=dict(type="EWCLoss"), weight=[1.0, 2.0]), "growing epochs"),
        (dict(loss=dict(type="EWCLoss"), weight=-1), "must not be negative"),
    ],
)
def test_mistakes_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        DistillationTerm.from_config(config, 3)

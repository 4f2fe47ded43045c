"""CC2D-SLA-ATD that is killed at some moment, and started again, ends like one that nobody has disturbed.

``python -m mmlandmark.testing.one_shot_kills RECORD.json`` trains a model for each of two landmarks of
phantoms: without annotation first, then on copies of a template and on images with pseudo labels. See
:mod:`mmlandmark.testing.kills` for what is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.testing.kills import Moment, parsed, record_kills
from mmlandmark.testing.tiny import phantom_dataloader, tiny_config

LANDMARKS = ("sella", "menton")
# Of each landmark: an epoch has 2 steps at first, and then 2 on copies and 2 with pseudo labels; 2 batches a
# validation, 2 batches a round of labels, of which the first is random.
MOMENTS = (
    Moment("in an epoch without annotation", "train_step", 3),
    Moment("while its checkpoint is written", "write", 1, "00_sella/01_ssl/epoch_1.pth"),
    Moment("between two stages", "write", 2, "00_sella/01_ssl/run.json", whole=True),
    Moment("while random labels are written", "write", 1, "02_sla/pseudo_labels/epoch_0.json"),
    Moment("in an epoch, on copies of the template", "train_step", 10),
    Moment("between two batches of a round of labels", "predict", 8),
    Moment("in an epoch, on images with labels", "train_step", 11),
    Moment("between two landmarks", "write", 2, "00_sella/02_sla/run.json", whole=True),
    Moment("in an epoch of the second landmark", "train_step", 23),
    Moment("while the detector of both is written", "write", 1, "detector/detector.pth"),
)


def two_landmarks(work_dir: str | Path, by_epoch: bool = True, epochs: Sequence[int] = (2, 2)) -> Config:
    """Return the config of two models, each of two stages, with a template and four images.

    Args:
        work_dir: Its work folder.
        by_epoch: Labels are always made by epoch.
        epochs: Of each stage.
    """
    assert by_epoch, "CC2D-SLA labels all images before an epoch"
    loader, data = phantom_dataloader(), dict(landmarks=list(LANDMARKS))
    loader["dataset"] |= data
    copies = dict(loader["dataset"], offset=7, num_samples=1)
    template = dict(type="TemplateHook", template=dict(offset=7, num_samples=1))
    labels = dict(type="PseudoLabelHook", first="random", selector=dict(type="KeepAll"))
    more: list[dict[str, Any]] = [
        dict(
            name="ssl",
            model=dict(patches=dict(around="anywhere")),
            train_dataloader=dict(dataset=dict(unlabelled=True)),
            custom_hooks=[template],
        ),
        dict(
            name="sla",
            load_from="run:ssl:last",
            train_dataloader=dict(
                sampler=dict(_delete_=True, type="PartsInTurnSampler"),
                dataset=dict(_delete_=True, type="RepeatDataset", times=4, fixed=True, dataset=copies),
                unlabelled=dict(offset=0, num_samples=4),
            ),
            custom_hooks=[template, labels],
        ),
    ]
    return tiny_config(
        work_dir,
        per_landmark=True,
        model=dict(
            type="TemplateDetector",
            backbone=dict(widths=(4, 8), out_indices=(0, 1)),
            head=dict(
                _delete_=True,
                type="TemplateHead",
                num_landmarks=len(LANDMARKS),
                codec=dict(type="GaussianHeatmapCodec", sigma=2.0, decoder="argmax"),
            ),
            contrast=dict(type="CascadeContrastLoss"),
            patches=dict(around="landmarks"),
        ),
        train_dataloader=loader,
        val_dataloader=dict(dataset=data),
        test_dataloader=dict(dataset=data),
        stages=[
            dict(part, train_cfg=dict(max_epochs=number)) for part, number in zip(more, epochs, strict=True)
        ],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Kill the training of both landmarks at every moment."""
    record_kills(parsed(__doc__, arguments), MOMENTS, two_landmarks)


if __name__ == "__main__":
    main()

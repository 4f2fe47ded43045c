"""The config of a one-shot detection, as a person would write it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mmlandmark.planning.budget_rules import PUBLISHED
from mmlandmark.planning.choice import Choice
from mmlandmark.planning.config_text import cache_of, pipelines
from mmlandmark.planning.one_shot_rules import BATCH, COPIES, LABELLED, POINTS, TURNS
from mmlandmark.planning.source_text import BESIDE, call, comment, wrapped
from mmlandmark.utils.result_folders import RUN

TEMPLATE, IMAGES, KNOWN = "template.json", "images.txt", "known.txt"
_WIDTHS = {4: (24, 24, 40), 5: (16, 24, 40, 112)}
# Stages that label, too, where the median of three does.
_OTHERS = {
    "encoder": """    # The encoder as it is: nothing learns.
    dict(
        name="encoder",
        model=dict(neck=None, backbone=dict(norm_eval=True)),
        train_dataloader=dict(dataset=dict(indices=1)),
        train_cfg=dict(max_epochs=1, val_interval=1),
        optim_wrapper=dict(optimizer=dict(lr=0.0)),
        param_scheduler=[],
    ),""",
    "ssl_point": """    # One point of every patch is compared.
    dict(name="ssl_point", model=dict(patches=dict(points=1))),""",
}
_BASES = ("default_runtime.py", "models/cc2d.py", "schedules/adamw_onecycle.py")


def one_shot_text(
    title: str,
    choices: Mapping[str, Choice],
    images: Mapping[str, Any],
    known: Mapping[str, Any] | None,
) -> str:
    """Return the text of a config with the stages ``ssl`` and ``student``, and before them other labellers.

    Args:
        title: What is planned, for the first line.
        choices: The decisions, by the names of ``docs/one_shot.md``.
        images: Arguments of the data set of images without annotation.
        known: Config of annotated images to test on; None tests on the template.
    """
    why = {name: choice.why for name, choice in choices.items()}
    shown = dict(type="LandmarkDataset", data_root=BESIDE, ann_file=TEMPLATE, outside_root=True)
    given = dict(images, labelled=shown, ids=f"{BESIDE}{IMAGES}", **cache_of(choices))
    tested = "shown" if known is None else "known"
    return "\n".join(
        [
            comment(f"{title}; all reasons are in plan.json"),
            "\n".join(["_base_ = [", *(f'    "mmlandmark::_base_/{name}",' for name in _BASES), "]"]),
            f'work_dir = "{BESIDE}{RUN}"',
            *pipelines(choices),
            wrapped("shown", shown),
            *([] if known is None else [wrapped("known", known)]),
            comment(why["images"]) + "\n" + wrapped("images", given),
            wrapped("loader", dict(batch_size=BATCH, num_workers=choices["workers"].value)),
            'train_dataloader = dict(\n    loader,\n    sampler=dict(type="DefaultSampler", shuffle=True),\n'
            "    dataset=dict(images, pipeline=plain),\n)",
            "test_dataloader = dict(\n    loader,\n"
            '    sampler=dict(type="DefaultSampler", shuffle=False),\n'
            f"    dataset=dict({tested}, pipeline=plain, test_mode=True),\n)",
            wrapped("test_evaluator", dict(type="LandmarkMetric", **choices["unit"].value)),
            "# Nothing is learnt from the annotation that is tested, and nothing chosen by it.",
            "allow_leaks = True",
            *_embeddings(choices, why),
            *_student(choices, why),
        ]
    ) + "\n"  # fmt: skip


def _embeddings(choices: Mapping[str, Choice], why: Mapping[str, str]) -> list[str]:
    """Return the network and the schedule of the first stage."""
    channels, count, levels = (choices[name].value for name in ("channels", "landmarks", "levels"))
    weights = dict(type="Pretrained", checkpoint=PUBLISHED) if choices["start"].value else None
    encoder = dict(
        type="EfficientNetLite", in_channels=channels, **({"init_cfg": weights} if weights else {})
    )
    pixels = dict(type="LandmarkDataPreprocessor", **choices["normalisation"].value, channels=channels)
    return [
        comment(f"network: {why['start']}"),
        wrapped("pixels", pixels),
        wrapped("encoder", encoder),
        "model = dict(\n    data_preprocessor=pixels,\n"
        f"    # {why['levels']}\n"
        f"    backbone=dict(encoder, _delete_=True, out_indices={tuple(range(levels))}),\n"
        f"    neck=dict(widths={_WIDTHS[levels]}),\n"
        f"    head=dict(num_landmarks={count}, num_templates={COPIES},"
        ' codec=dict(decoder="local_centroid")),\n'
        f"    patches=dict(points={POINTS}),\n)",
        "# The template is looked for as it is turned and scaled a little, in several ways.",
        f"turned = [*load, {call(dict(type='RandomAffine', **TURNS))}, *plain[len(load) :]]",
        "copies = dict(\n"
        f'    type="RepeatDataset", times={COPIES}, fixed=True, dataset=dict(shown, pipeline=turned)\n)',
        'custom_hooks = [dict(type="TemplateHook", template=copies)]',
        comment(f"epochs: {why['ssl']}; of the student: {why['student']}"),
        f"train_cfg = dict(max_epochs={choices['ssl'].value}, val_interval={choices['ssl'].value})",
        "val_cfg = None",
        'optim_wrapper = dict(dtype="float32", optimizer=dict(lr=1e-3))',
        "param_scheduler = [dict(_base_.one_cycle, eta_max=1e-3)]",
        f"default_hooks = dict(checkpoint=dict(interval={_saved(choices['ssl'])}))",
    ]


def _student(choices: Mapping[str, Choice], why: Mapping[str, str]) -> list[str]:
    """Return the second stage."""
    count, epochs = choices["landmarks"].value, choices["student"]
    others = _OTHERS if choices["labellers"].value > 1 else {}
    names = [f"run:{name}:last" for name in (*others, "ssl")]
    labeller = names if others else names[0]
    labels = dict(type="PseudoLabelHook", labeller=labeller, selector=choices["selector"].value)
    head = dict(
        type="HeatmapHead",
        num_landmarks=count,
        codec=dict(type="GaussianHeatmapCodec", sigma=2, activation="softmax", window=5),
        loss=dict(type="SpatialCrossEntropyLoss"),
    )
    neck = dict(type="UNetDecoder", conv_bias="auto", norm_cfg=dict(type="BN"), align_corners=False)
    return [
        comment(f"labels: {why['labellers']}") + "\n" + comment(f"learnt from: {why['selector']}"),
        wrapped("labels", labels),
        'student = dict(\n    _delete_=True,\n    type="LandmarkDetector",\n    data_preprocessor=pixels,\n'
        "    backbone=dict(encoder, stage_blocks=(1, 2, 2, 3, 3, 2, 0)),",
        wrapped("neck", neck, "    ") + ",",
        wrapped("head", head, "    ") + ",\n)",
        "stages = [",
        *others.values(),
        '    dict(name="ssl"),',
        "    dict(",
        '        name="student",',
        "        model=student,",
        "        train_dataloader=dict(",
        f'            sampler=dict(_delete_=True, type="LabelledShareSampler", labelled={LABELLED}),',
        "            dataset=dict(shown, _delete_=True, pipeline=augmented),",
        "            unlabelled=dict(images, pipeline=augmented),",
        "        ),",
        f"        train_cfg=dict(max_epochs={epochs.value}, val_interval={epochs.value}),",
        "        optim_wrapper=dict(optimizer=dict(lr=2e-3)),",
        "        param_scheduler=[dict(_base_.one_cycle, eta_max=2e-3)],",
        f"        default_hooks=dict(checkpoint=dict(interval={_saved(epochs)})),",
        "        custom_hooks=[labels, _base_.ema],",
        "    ),",
        "]",
    ]


def _saved(epochs: Choice) -> int:
    """Return the epochs between two checkpoints."""
    return max(1, math.ceil(epochs.value / 8))

"""Configs of runs on phantoms that take a second or two, and a model file without a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmlandmark.engine.data_dims import with_data_dims
from mmlandmark.inference.packing import pack_checkpoint
from mmlandmark.models.model_file import ModelFile
from mmlandmark.registry import DATASETS, MODELS

KINDS = {19: "ceph", 26: "head", 37: "hand", 68: "spine"}


def phantom_dataloader(
    num_landmarks: int = 19,
    num_samples: int = 4,
    size: tuple[int, ...] = (64, 64),
    batch_size: int = 2,
    train: bool = True,
    num_workers: int = 0,
    offset: int | None = None,
) -> dict[str, Any]:
    """Return the config of a loader of small phantoms with 19, 37 or 68 landmarks or, in 3D, 26.

    By default training starts at patient 0, and validation and test at patient 100.
    """
    pipeline: list[dict] = [dict(type="LoadImage")]
    if train:
        pipeline.append(dict(type="RandomAffine", rotation=5, scale=0.05, shift=0.03))
    pipeline += [dict(type="Resize", size=size), dict(type="Resample"), dict(type="PackInputs")]
    return dict(
        batch_size=batch_size,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        sampler=dict(type="DefaultSampler", shuffle=train),
        dataset=dict(
            type="PhantomDataset",
            kind=KINDS[num_landmarks],
            num_samples=num_samples,
            size=size,
            offset=(0 if train else 100) if offset is None else offset,
            pipeline=pipeline,
            test_mode=not train,
            serialize_data=False,  # it runs the garbage collector, which takes longer than all the rest
        ),
    )


def tiny_config(work_dir: str | Path, max_epochs: int = 2, **overrides: Any) -> Config:
    """Return the config of a run on a handful of phantoms.

    Args:
        work_dir: Its work folder.
        max_epochs: Epochs.
        overrides: Values merged over the config; dotted keys work with ``**{"a.b": c}``.
    """
    config = Config(
        dict(
            default_scope="mmlandmark",
            model=dict(
                type="LandmarkDetector",
                data_preprocessor=dict(type="LandmarkDataPreprocessor", mean=0.4, std=0.25, channels=1),
                backbone=dict(type="UNet", in_channels=1, widths=(8, 16), norm_cfg=dict(type="BN")),
                head=dict(
                    type="HeatmapHead",
                    num_landmarks=19,
                    codec=dict(type="GaussianHeatmapCodec", sigma=2.0),
                    loss=dict(type="EWCLoss"),
                ),
            ),
            train_dataloader=phantom_dataloader(),
            val_dataloader=phantom_dataloader(train=False, offset=100),
            test_dataloader=phantom_dataloader(train=False, offset=100),
            val_evaluator=dict(type="LandmarkMetric", unit="px", radii=(2, 4)),
            test_evaluator=dict(type="LandmarkMetric", unit="px", radii=(2, 4)),
            train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
            val_cfg=dict(),
            test_cfg=dict(),
            optim_wrapper=dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-3)),
            param_scheduler=[dict(type="LinearLR", start_factor=0.5, by_epoch=True, begin=0, end=4)],
            default_hooks=dict(
                checkpoint=dict(type="CheckpointHook", interval=1),
                epoch_seed=dict(type="EpochSeedHook"),
                invalid_loss=dict(type="InvalidLossHook"),
                safe_checkpoint=dict(type="SafeCheckpointHook"),
            ),
            randomness=dict(seed=0),
            env_cfg=dict(mp_cfg=dict(mp_start_method="fork", opencv_num_threads=1)),
            visualizer=dict(type="LandmarkVisualizer", vis_backends=[dict(type="LocalVisBackend")]),
            log_level="WARNING",
            launcher="none",
            work_dir=str(work_dir),
        )
    )
    config.merge_from_dict(overrides)
    return config


def tiny_model(num_landmarks: int = 19, size: tuple[int, ...] = (64, 64), seed: int = 0) -> ModelFile:
    """Return a detector that has learnt nothing, with all that a model file holds.

    Args:
        num_landmarks: 19, 37 or 68, of the phantoms; 26 of the volumes.
        size: (*S) of its input.
        seed: Of its weights.
    """
    config = tiny_config("untrained")
    config.test_dataloader = phantom_dataloader(num_landmarks, size=size, train=False)
    config.model.head.num_landmarks = num_landmarks
    config.model = with_data_dims(config.model, [config.test_dataloader])
    dataset = DATASETS.build(dict(config.test_dataloader.dataset, lazy_init=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = MODELS.build(config.model).state_dict()
    checkpoint = dict(state_dict=state, meta=dict(dataset_meta=dataset.metainfo, seed=seed))
    return pack_checkpoint(config, checkpoint, "untrained", name="untrained")

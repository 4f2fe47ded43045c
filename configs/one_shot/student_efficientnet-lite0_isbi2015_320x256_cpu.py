# A plain detector of heatmaps that learns from what a detector with a template finds, where it agrees. No
# annotation of the training films is used, but that of one.
_base_ = ["cc2d_efficientnet-lite0_isbi2015_320x256_cpu.py"]

student = dict(
    _delete_=True,
    type="LandmarkDetector",
    data_preprocessor=dict(_base_.model["data_preprocessor"]),
    backbone=dict(_base_.model["backbone"], stage_blocks=(1, 2, 2, 3, 3, 2, 0), out_indices=(0, 1, 2, 3, 4)),
    neck=dict(type="UNetDecoder", conv_bias="auto", norm_cfg=dict(type="BN"), align_corners=False),
    head=dict(
        type="HeatmapHead",
        num_landmarks=19,
        codec=dict(type="GaussianHeatmapCodec", sigma=2, activation="softmax", window=5),
        loss=dict(type="SpatialCrossEntropyLoss"),
    ),
)
labels = dict(type="PseudoLabelHook", labeller="run:ssl:last", selector=dict(type="ShapeConsensus"))
stages = [
    dict(name="ssl"),
    dict(
        name="student",
        model=student,
        # The template is one film of every batch.
        train_dataloader=dict(
            sampler=dict(_delete_=True, type="LabelledShareSampler", labelled=1 / 8),
            dataset=dict(unlabelled=False, ids=["125"], pipeline=[*_base_.load, *_base_.augmented]),
            unlabelled=dict(ids=[f"{number:03}" for number in range(1, 151) if number != 125]),
        ),
        train_cfg=dict(max_epochs=25, val_interval=25),
        optim_wrapper=dict(optimizer=dict(lr=2e-3)),
        param_scheduler=[dict(_base_.one_cycle, eta_max=2e-3)],
        custom_hooks=[labels, _base_.ema],
    ),
]

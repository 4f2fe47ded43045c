_base_ = ["cc2d_efficientnet-lite0_phantom-ceph_160x128_cpu.py", "../_base_/models/cc2d_student.py"]

# Narrow embeddings, large patches, cosines as they are; a U-Net that learns discs is the second stage.
model = dict(
    neck=dict(embedding=16),
    contrast=dict(temperature=1.0, margin=0.0, window=6, clamp=True),
    patches=dict(share=2 / 3),
)
disc = dict(
    type="HeatmapCodec",
    sigma=8,
    shape="disc",
    activation="sigmoid",
    decoder=dict(type="blob_centroid", threshold=0.5),
)
student = dict(
    _base_.student,
    data_preprocessor=_base_.model["data_preprocessor"],
    backbone=dict(_base_.model["backbone"], stage_blocks=(1, 2, 2, 3, 3, 2, 0), out_indices=(0, 1, 2, 3, 4)),
    neck=dict(type="UNetDecoder", conv_bias="auto", norm_cfg=dict(type="BN"), align_corners=False),
    head=dict(_base_.student["head"], codec=disc, loss=dict(type="HeatmapBCELoss")),
)
stages = [
    _base_.ssl,
    dict(
        _base_.tpl,
        model=student,
        train_dataloader=dict(
            sampler=_base_.with_template,
            dataset=dict(unlabelled=False, indices=1, pipeline=[*_base_.load, *_base_.augmented]),
            unlabelled=dict(indices=list(range(1, 100))),
        ),
        train_cfg=dict(max_epochs=20, val_interval=20),
        optim_wrapper=dict(optimizer=dict(lr=2e-3)),
        param_scheduler=[dict(_base_.one_cycle, eta_max=2e-3)],
    ),
]

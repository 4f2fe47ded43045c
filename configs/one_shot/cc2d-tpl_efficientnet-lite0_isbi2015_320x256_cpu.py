_base_ = ["cc2d_efficientnet-lite0_isbi2015_320x256_cpu.py", "../_base_/models/cc2d_student.py"]

student = dict(
    _base_.student,
    data_preprocessor=_base_.model["data_preprocessor"],
    backbone=dict(_base_.model["backbone"], stage_blocks=(1, 2, 2, 3, 3, 2, 0), out_indices=(0, 1, 2, 3, 4)),
    neck=dict(type="UNetDecoder", conv_bias="auto", norm_cfg=dict(type="BN"), align_corners=False),
    # A map is nearly empty: in so few steps discs are learnt only if they count for more.
    head=dict(
        _base_.student["head"],
        codec=dict(type="VotingCodec", radius=13),
        loss=[dict(type="HeatmapBCELoss", gamma=1, loss_weight=100), dict(type="OffsetL1Loss")],
    ),
)
stages = [
    _base_.ssl,
    dict(
        _base_.tpl,
        model=student,
        train_dataloader=dict(
            sampler=_base_.with_template,
            dataset=dict(unlabelled=False, ids=["125"], pipeline=[*_base_.load, *_base_.augmented]),
            unlabelled=dict(ids=[f"{number:03}" for number in range(1, 151) if number != 125]),
        ),
        train_cfg=dict(max_epochs=21, val_interval=21),
        optim_wrapper=dict(optimizer=dict(lr=2e-3)),
        param_scheduler=[dict(_base_.one_cycle, eta_max=2e-3)],
    ),
]

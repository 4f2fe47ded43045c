_base_ = ["unet_mouse-head_80x88x88_cpu.py"]

# The coarse detector is that of unet_mouse-head_80x88x88_cpu; the fine one sees patches of twice its resolution.
load = [dict(type="LoadImage", channels=1), dict(type="ResampleSpacing", spacing=0.15)]
whole = [*load, dict(type="Resample"), dict(type="PackInputs")]
patches = [
    *load,
    dict(type="RandomAffine", rotation=(20, 20, 180), scale=0.15),
    dict(type="RandomPatch", size=(48, 48, 48)),
    *_base_.augmented[2:],
]
part = dict(
    type="LandmarkDetector",
    data_preprocessor=dict(
        type="LandmarkDataPreprocessor", channels=1, mean=0.05, std=0.1, size_divisor=8
    ),
    backbone=_base_.model.backbone,
    head=_base_.model.head,
)
model = dict(
    _delete_=True,
    type="CoarseToFineDetector",
    coarse=dict(part, init_cfg=dict(type="Pretrained", checkpoint="run:coarse:last")),
    fine=part,
    patch_size=(32, 32, 32),
    shrink=2,
    batch_size=8,
)
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=patches))
val_dataloader = dict(dataset=dict(pipeline=whole))
test_dataloader = dict(dataset=dict(pipeline=whole))
stages = [
    dict(
        name="coarse",
        model=dict(_delete_=True, **part),
        train_dataloader=dict(batch_size=2, dataset=dict(pipeline=[*_base_.load, *_base_.augmented])),
        val_dataloader=dict(dataset=dict(pipeline=[*_base_.load, *_base_.plain])),
        test_dataloader=dict(dataset=dict(pipeline=[*_base_.load, *_base_.plain])),
    ),
    dict(name="fine"),
]

_base_ = ["unet_mouse-head_80x96x96_cpu.py"]

# Coarse: the whole head at 0.45 mm; fine: a patch of 4.8 mm about every landmark at 0.15 mm. Both stages take
# about as long as unet_mouse-head_80x96x96_cpu.
load = [dict(type="LoadImage", channels=1), dict(type="ResampleSpacing", spacing=0.15)]
whole = [*load, dict(type="Resample"), dict(type="PackInputs")]
patches = [
    *load,
    dict(type="RandomAffine", rotation=(20, 20, 180), scale=0.15),
    dict(type="RandomPatch", size=(48, 48, 48)),
    *_base_.augmented[2:],
]
small = [
    dict(type="LoadImage", channels=1),
    dict(type="ResampleSpacing", spacing=0.45),
    dict(type="CenterCrop", size=(64, 64, 64)),
]
part = dict(
    type="LandmarkDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=1, mean=0.05, std=0.1, size_divisor=16),
    backbone=_base_.model.backbone,
    head=_base_.model.head,
)
model = dict(
    _delete_=True,
    type="CoarseToFineDetector",
    coarse=dict(part, init_cfg=dict(type="Pretrained", checkpoint="run:coarse:last")),
    fine=part,
    patch_size=(32, 32, 32),
    shrink=3,
    batch_size=8,
)
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=patches))
val_dataloader = dict(dataset=dict(pipeline=whole))
test_dataloader = dict(dataset=dict(pipeline=whole))
stages = [
    dict(
        name="coarse",
        model=dict(_delete_=True, **part),
        train_dataloader=dict(batch_size=2, dataset=dict(pipeline=[*small, *_base_.augmented])),
        val_dataloader=dict(dataset=dict(pipeline=[*small, *_base_.plain])),
        test_dataloader=dict(dataset=dict(pipeline=[*small, *_base_.plain])),
    ),
    dict(name="fine"),
]

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/mouse_heads.py",
    "../_base_/models/unet_volumes.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# Coarse: the whole head at 0.45 mm; fine: a patch of 4.8 mm about every landmark at 0.15 mm. Both are the
# network of unet_mouse-head_80x96x96_cpu, and take about as long together.
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
    backbone=dict(_base_.model.backbone, widths=(16, 32, 64, 128, 192)),
    head=dict(_base_.model.head, num_landmarks=45, codec=dict(_base_.model.head.codec, sigma=1.5, window=4)),
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
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=patches))
val_dataloader = dict(dataset=dict(pipeline=whole))
test_dataloader = dict(dataset=dict(pipeline=whole))
train_cfg = dict(max_epochs=600, val_interval=200)  # of 12 patches
custom_hooks = [dict(_base_.ema, momentum=0.005)]
stages = [
    dict(
        name="coarse",
        model=dict(_delete_=True, **part),
        train_cfg=dict(max_epochs=280, val_interval=70),
        train_dataloader=dict(batch_size=2, dataset=dict(pipeline=[*small, *_base_.augmented])),
        val_dataloader=dict(dataset=dict(pipeline=[*small, *_base_.plain])),
        test_dataloader=dict(dataset=dict(pipeline=[*small, *_base_.plain])),
    ),
    dict(name="fine"),
]

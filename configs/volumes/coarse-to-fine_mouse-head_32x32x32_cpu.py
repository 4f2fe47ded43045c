_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/mouse_heads.py",
    "../_base_/models/unet_volumes.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# Coarse: the whole head at 0.6 mm; fine: a patch of 4.8 mm about every landmark at 0.15 mm, turned and scaled
# as the coarse landmarks say, so that all heads look alike.
pixel = 0.15
read = dict(type="LoadImage", channels=1)
end = [dict(type="Resample"), dict(type="PackInputs")]
whole = [
    read,
    dict(type="ResampleSpacing", spacing=pixel),
    dict(type="CenterCrop", size=(192, 192, 192)),
    *end,
]
small = [read, dict(type="ResampleSpacing", spacing=4 * pixel), dict(type="CenterCrop", size=(48, 48, 48))]
patches = [
    read,
    dict(type="AlignToTypicalShape", pixel=pixel),
    dict(type="RandomAffine", rotation=10, scale=0.1),
    dict(type="RandomPatch", size=(32, 32, 32), jitter=0.6),
    *_base_.augmented[1:],
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
    fine=dict(part, backbone=dict(part["backbone"], widths=(16, 32, 64, 128))),
    patch_size=(32, 32, 32),
    coarse_size=(48, 48, 48),
    align=dict(pixel=pixel),
    batch_size=8,
)
train_dataloader = dict(batch_size=6, dataset=dict(pipeline=patches))
val_dataloader = dict(dataset=dict(pipeline=whole))
test_dataloader = dict(dataset=dict(pipeline=whole))
train_cfg = dict(max_epochs=800, val_interval=200)  # of 12 patches
custom_hooks = [dict(type="ShapePriorHook"), dict(_base_.ema, momentum=0.005)]
stages = [
    dict(
        name="coarse",
        model=dict(_delete_=True, **part),
        custom_hooks=custom_hooks[1:],
        train_cfg=dict(max_epochs=400, val_interval=100),
        train_dataloader=dict(batch_size=2, dataset=dict(pipeline=[*small, *_base_.augmented])),
        val_dataloader=dict(dataset=dict(pipeline=[*small, *_base_.plain])),
        test_dataloader=dict(dataset=dict(pipeline=[*small, *_base_.plain])),
    ),
    dict(name="fine"),
]

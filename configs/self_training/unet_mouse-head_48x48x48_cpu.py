_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/mouse_heads.py",
    "../_base_/models/unet_volumes.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# Whole heads at 0.6 mm, maps at 1.2 mm, and 5 annotated heads.
load = [
    dict(type="LoadImage", channels=1),
    dict(type="ResampleSpacing", spacing=0.6),
    dict(type="CenterCrop", size=(48, 48, 48)),
]
model = dict(
    data_preprocessor=dict(mean=0.05, std=0.1),
    backbone=dict(widths=(16, 32, 64, 128), stem_stride=2),
    head=dict(num_landmarks=45, codec=dict(sigma=1.5, window=4)),
)
own = dict(_base_.train_dataloader["dataset"], ids=_base_.few_ids, pipeline=[*load, *_base_.augmented])
train_dataloader = dict(dataset=dict(_delete_=True, type="RepeatDataset", times=18, dataset=own))
test_dataloader = dict(dataset=dict(pipeline=[*load, *_base_.plain]))
val_dataloader = dict(dataset=dict(ids=_base_.test_ids, pipeline=[*load, *_base_.plain]))
train_cfg = dict(max_epochs=32, val_interval=32)
custom_hooks = [dict(_base_.ema, momentum=0.005)]
default_hooks = dict(checkpoint=dict(interval=8))

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/spine_aasce2019.py",
    "../_base_/models/farnet_narrow.py",
    "../_base_/schedules/adamw_onecycle.py",
]

load = [dict(type="LoadImage", size=(512, 256), channels=1), dict(type="Resize", size=(256, 128))]
affine, *rest = _base_.augmented
pipeline = [*load, dict(affine, shift=8 / 128), *rest]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(loader, batch_size=4, dataset=dict(pipeline=pipeline))
val_dataloader = dict(loader, batch_size=6, dataset=dict(pipeline=[*load, *_base_.plain]))
test_dataloader = val_dataloader

model = dict(head=dict(num_landmarks=68, codec=dict(sigma=2.5)))
train_cfg = dict(max_epochs=12, val_interval=12)
custom_hooks = [_base_.ema]

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/mouse_heads.py",
    "../_base_/models/unet_volumes.py",
    "../_base_/schedules/adamw_onecycle.py",
]

model = dict(
    data_preprocessor=dict(mean=0.05, std=0.1),
    backbone=dict(widths=(16, 32, 64, 128, 192)),
    head=dict(num_landmarks=45, codec=dict(sigma=1.5, window=4)),
)
train_cfg = dict(max_epochs=300, val_interval=75)
custom_hooks = [dict(_base_.ema, momentum=0.005)]

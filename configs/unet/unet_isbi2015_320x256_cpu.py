_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015_320x256.py",
    "../_base_/models/unet6.py",
    "../_base_/schedules/adamw_onecycle.py",
]

train_cfg = dict(max_epochs=50)
custom_hooks = [
    dict(type="EMAHook", ema_type="MomentumAnnealingEMA", momentum=0.005, gamma=10, update_buffers=True),
]

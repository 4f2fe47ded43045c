_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015_320x256.py",
    "../_base_/models/unet6.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# Three small U-Nets, each of which learns what either of the two readers marks; see configs/unet/README.md.
model = dict(
    type="EnsembleDetector",
    members=3,
    backbone=dict(widths=(16, 32, 64, 128, 128, 128)),
    head=dict(num_readers=2, codec=dict(window=5)),
)
train_cfg = dict(max_epochs=20)
optim_wrapper = dict(optimizer=dict(lr=5e-3, weight_decay=0.05))
param_scheduler = [
    dict(type="OneCycleLR", eta_max=5e-3, pct_start=0.2, by_epoch=True, convert_to_iter_based=True)
]
custom_hooks = [
    dict(type="EMAHook", ema_type="MomentumAnnealingEMA", momentum=0.01, gamma=10, update_buffers=True),
]

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015_320x256.py",
    "../_base_/models/farnet.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# FARNet a quarter as wide, from random weights, for a few CPU cores; sigma as large a part of the image as
# the paper's.
model = dict(
    data_preprocessor=dict(mean=0.4, std=0.25, channels=1),
    backbone=dict(in_channels=1, growth_rate=12, block_layers=(4, 8, 12, 8), stem_channels=32, init_cfg=None),
    neck=dict(channels=64),
    head=dict(
        image_channels=1,
        guide_channels=16,
        guide_kernel=3,
        codec=dict(sigma=4, decoder="local_centroid"),
    ),
)
train_cfg = dict(max_epochs=12, val_interval=12)
custom_hooks = [
    dict(type="EMAHook", ema_type="MomentumAnnealingEMA", momentum=0.01, gamma=10, update_buffers=True),
]

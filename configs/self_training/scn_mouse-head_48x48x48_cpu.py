# The data and the schedule of the U-Net; the network, its loss and its rate are those of whole heads at 0.45 mm.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/mouse_heads.py",
    "../_base_/models/scn_volumes.py",
    "../_base_/schedules/adamw_onecycle.py",
]

load = [
    dict(type="LoadImage", channels=1),
    dict(type="ResampleSpacing", spacing=0.6),
    dict(type="CenterCrop", size=(48, 48, 48)),
]
model = dict(
    data_preprocessor=dict(mean=0.05, std=0.1),
    backbone=dict(width=16, dropout=0.1),
    head=dict(
        num_landmarks=45, channels=16, downsample=4, codec=dict(sigma=1.5, scale=100, regularizer=1)
    ),
)
own = dict(_base_.train_dataloader["dataset"], ids=_base_.few_ids, pipeline=[*load, *_base_.augmented])
train_dataloader = dict(dataset=dict(_delete_=True, type="RepeatDataset", times=18, dataset=own))
test_dataloader = dict(dataset=dict(pipeline=[*load, *_base_.plain]))
val_dataloader = dict(dataset=dict(ids=_base_.test_ids, pipeline=[*load, *_base_.plain]))
# The squared error grows as the learned widths shrink: the gradient is clipped, widths do not decay.
optim_wrapper = dict(
    optimizer=dict(lr=5e-4),
    clip_grad=dict(max_norm=1000),
    paramwise_cfg=dict(custom_keys={"head.codec.sigma": dict(decay_mult=0)}),
)
param_scheduler = [dict(_base_.one_cycle, eta_max=5e-4, pct_start=0.05)]
train_cfg = dict(max_epochs=32, val_interval=32)
custom_hooks = [dict(_base_.ema, momentum=0.005)]
default_hooks = dict(checkpoint=dict(interval=8))

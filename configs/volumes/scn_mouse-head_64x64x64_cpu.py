_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/mouse_heads.py",
    "../_base_/models/scn_volumes.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# Narrower than published, and trained by AdamW: 20 heads are no spine, and a CPU has less time.
model = dict(
    data_preprocessor=dict(mean=0.05, std=0.1),
    backbone=dict(width=16, dropout=0.1),
    head=dict(num_landmarks=45, channels=16, codec=dict(sigma=2, scale=100, regularizer=1)),
)
# The squared error grows as the learned widths shrink: the gradient is clipped, widths do not decay.
optim_wrapper = dict(
    optimizer=dict(lr=5e-4),
    clip_grad=dict(max_norm=1000),
    paramwise_cfg=dict(custom_keys={"head.codec.sigma": dict(decay_mult=0)}),
)
param_scheduler = [dict(_base_.one_cycle, eta_max=5e-4, pct_start=0.05)]
train_cfg = dict(max_epochs=300, val_interval=75)
custom_hooks = [dict(_base_.ema, momentum=0.005)]

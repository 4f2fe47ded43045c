_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/mouse_heads.py",
    "../_base_/models/scn_volumes.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# Narrower than published, and trained by AdamW: 20 heads are no spine, and a CPU has less time.
model = dict(
    data_preprocessor=dict(mean=0.05, std=0.1),
    backbone=dict(width=24, dropout=0.1),
    head=dict(num_landmarks=45, channels=24, codec=dict(sigma=2, scale=100, regularizer=1)),
)
train_cfg = dict(max_epochs=200, val_interval=50)
custom_hooks = [dict(_base_.ema, momentum=0.005)]

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015.py",
    "../_base_/models/farnet_narrow.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# Sigma is the same fraction of the image as in the paper.
train_cfg = dict(max_epochs=12, val_interval=12)
custom_hooks = [_base_.ema]

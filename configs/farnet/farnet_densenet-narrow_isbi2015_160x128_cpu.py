_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015.py",
    "../_base_/models/farnet_narrow.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# Small enough that a regression loss gets the steps it needs; the ablations train with it.
load = [dict(type="LoadImage", size=(320, 256), channels=1), dict(type="Resize", size=(160, 128))]
train_dataloader = dict(dataset=dict(pipeline=[*load, *_base_.augmented]))
val_dataloader = dict(dataset=dict(pipeline=[*load, *_base_.plain]))
test_dataloader = val_dataloader

model = dict(head=dict(codec=dict(sigma=2)))
train_cfg = dict(max_epochs=24, val_interval=12)
optim_wrapper = dict(optimizer=dict(lr=4e-3))
param_scheduler = [dict(_base_.one_cycle, eta_max=4e-3)]
custom_hooks = [_base_.ema]

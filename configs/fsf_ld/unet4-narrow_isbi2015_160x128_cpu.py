_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015.py",
    "../_base_/models/fsf_ld_narrow.py",
    "../_base_/schedules/adamw_onecycle.py",
]

load = [dict(type="LoadImage", size=(320, 256), channels=1), dict(type="Resize", size=(160, 128))]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=[*load, *_base_.augmented]))
val_dataloader = dict(dataset=dict(pipeline=[*load, *_base_.plain]))
test_dataloader = val_dataloader

# float32 is also fast on a CPU without instructions for bfloat16.
optim_wrapper = dict(dtype="float32", optimizer=dict(lr=4e-3))
param_scheduler = [dict(_base_.one_cycle, eta_max=4e-3)]
train_cfg = dict(max_epochs=24, val_interval=12)

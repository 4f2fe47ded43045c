_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015_320x256.py",
    "../_base_/models/fsf_ld_narrow.py",
    "../_base_/schedules/adamw_onecycle.py",
]

load = [dict(type="LoadImage", size=(320, 256), channels=1), dict(type="Resize", size=(160, 128))]
train_pipeline = [
    *load,
    dict(type="RandomAffine", rotation=10, scale=0.1, shift=10),
    dict(type="Resample"),
    dict(type="RandomGamma", gamma=(0.74, 1.35)),
    dict(type="RandomBrightnessContrast", brightness=0.1, contrast=0.15),
    dict(type="PackInputs"),
]
test_pipeline = [*load, dict(type="Resample"), dict(type="PackInputs")]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# Also fast on a CPU without instructions for bfloat16.
optim_wrapper = dict(dtype="float32", optimizer=dict(lr=4e-3))
param_scheduler = [
    dict(type="OneCycleLR", eta_max=4e-3, pct_start=0.2, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=24, val_interval=12)

_base_ = ["./farnet_densenet-narrow_isbi2015_320x256_cpu.py"]

# So small that a regression loss gets the steps it needs; what the ablations are trained with.
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

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
model = dict(head=dict(codec=dict(sigma=2)))
train_cfg = dict(max_epochs=24, val_interval=12)
optim_wrapper = dict(optimizer=dict(lr=4e-3))
param_scheduler = [
    dict(type="OneCycleLR", eta_max=4e-3, pct_start=0.2, by_epoch=True, convert_to_iter_based=True)
]

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015_800x640.py",
    "../_base_/models/farnet.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# FARNet's network with all that README.md lists. Needs a GPU.
load = [dict(type="LoadImage", size=(1600, 1280), channels=1), dict(type="Resize", size=(800, 640))]
train_pipeline = [
    *load,
    dict(type="RandomAffine", rotation=10, scale=0.1, shift=50),
    dict(type="Resample"),
    dict(type="RandomGamma", gamma=(0.74, 1.35)),
    dict(type="RandomBrightnessContrast", brightness=0.1, contrast=0.15),
    dict(type="PackInputs"),
]
test_pipeline = [*load, dict(type="Resample"), dict(type="PackInputs")]
train_dataloader = dict(batch_size=4, num_workers=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=4, num_workers=4, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

model = dict(
    head=dict(
        num_annotators=2,
        codec=dict(sigma=5, activation="softmax", decoder="local_centroid", window=12),
        loss=dict(_delete_=True, type="SpatialCrossEntropyLoss"),
    ),
    test_cfg=dict(views=[{}, dict(rotation=4), dict(rotation=-4), dict(scale=1.05), dict(scale=0.95)]),
)
train_cfg = dict(max_epochs=40, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.05))
param_scheduler = [
    dict(
        type="OneCycleLR",
        eta_max=1e-3,
        pct_start=0.2,
        final_div_factor=0.2,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
custom_hooks = [
    dict(type="EMAHook", ema_type="MomentumAnnealingEMA", momentum=0.01, gamma=10, update_buffers=True),
]

# Spines of AASCE 2019 in a few minutes of a CPU core: a narrow U-Net that reads blocks of four pixels.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/spine_aasce2019.py",
    "../_base_/models/unet6.py",
    "../_base_/schedules/adamw_onecycle.py",
]

load = [dict(type="LoadImage", size=(576, 288), channels=1), dict(type="Resize", size=(384, 192))]
augmented = [
    *load,
    dict(type="RandomAffine", rotation=8, scale=0.15, shift=15 / 192),
    dict(type="RandomElastic", amplitude=4 / 192, prob=0.3),
    dict(type="Resample"),
    dict(type="RandomGamma", gamma=(0.7, 1.43)),
    dict(type="RandomBrightnessContrast", brightness=0.15, contrast=0.2),
    dict(type="PackInputs"),
]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(loader, batch_size=4, dataset=dict(pipeline=augmented))
val_dataloader = dict(loader, batch_size=7, dataset=dict(pipeline=[*load, *_base_.plain]))
test_dataloader = val_dataloader

corners = list(range(68))
val_evaluator = [
    dict(type="LandmarkMetric", unit="px", radii=(10, 20, 40)),
    dict(type="CoordinateMetric"),
    # The columns of angles.csv, as the challenge scores them; they follow from the annotated landmarks.
    dict(
        type="MeasureMetric",
        measures=[dict(name=f"angle {n}", kind="cobb", curve=n, points=corners) for n in (1, 2, 3)],
        smape=True,
    ),
]
test_evaluator = val_evaluator

model = dict(
    backbone=dict(stem_stride=2, widths=(16, 32, 64, 128, 192, 192)),
    head=dict(num_landmarks=68, codec=dict(sigma=2, window=5)),
)
train_cfg = dict(max_epochs=8, val_interval=8)
optim_wrapper = dict(optimizer=dict(lr=4e-3, weight_decay=0.05))
param_scheduler = [dict(_base_.one_cycle, eta_max=4e-3, final_div_factor=1.0)]
custom_hooks = [dict(_base_.ema, momentum=0.02)]

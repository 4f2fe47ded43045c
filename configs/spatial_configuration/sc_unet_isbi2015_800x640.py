_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015_800x640.py",
    "../_base_/models/unet_laplace.py",
    "../_base_/schedules/adam_800epochs.py",
]

train_pipeline = [
    dict(type="LoadImage", size=(800, 640), channels=1),
    dict(type="Resize", size=(800, 640)),
    dict(type="RandomAffine", rotation=15, scale=0.2),
    dict(type="Resample"),
    dict(type="RandomBrightnessContrast", brightness=0.2, contrast=0.5, prob=0.9),
    dict(type="PackInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

_base_ = ["../unet/unet_isbi2015_320x256_cpu.py"]

load = [dict(type="LoadImage", size=(960, 768), channels=1), dict(type="Resize", size=(640, 512))]
train_pipeline = [
    *load,
    dict(type="RandomAffine", rotation=12, scale=0.12, shift=48 / 512),
    dict(type="RandomElastic", amplitude=9 / 512, prob=0.5),
    dict(type="Resample"),
    dict(type="RandomGamma", gamma=(0.7, 1.43)),
    dict(type="RandomBrightnessContrast", brightness=0.1, contrast=0.2),
    dict(type="RandomNoise", prob=0.5),
    dict(type="PackInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=[*load, *_base_.plain]))
test_dataloader = val_dataloader
# Four pixels become channels: all detail of the image at the cost of maps of half its size.
model = dict(members=1, backbone=dict(stem_stride=2))
train_cfg = dict(max_epochs=24, val_interval=8)
# The learning rate ends high, so the mean is taken over more steps.
custom_hooks = [dict(_base_.ema, momentum=0.005)]

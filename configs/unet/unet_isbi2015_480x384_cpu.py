_base_ = ["./unet_isbi2015_320x256_cpu.py"]

load = [dict(type="LoadImage", size=(960, 768), channels=1), dict(type="Resize", size=(480, 384))]
train_pipeline = [
    *load,
    dict(type="RandomAffine", rotation=10, scale=0.1, shift=30),
    dict(type="Resample"),
    dict(type="RandomGamma", gamma=(0.74, 1.35)),
    dict(type="RandomBrightnessContrast", brightness=0.1, contrast=0.15),
    dict(type="PackInputs"),
]
test_pipeline = [*load, dict(type="Resample"), dict(type="PackInputs")]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
model = dict(head=dict(codec=dict(sigma=3, window=8)))

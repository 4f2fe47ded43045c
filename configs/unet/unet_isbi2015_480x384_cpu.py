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
# One network, a narrow one, and fewer epochs: the large size alone costs 2.25 times as much.
model = dict(
    members=1, backbone=dict(widths=(16, 32, 64, 128, 128, 128)), head=dict(codec=dict(sigma=3, window=8))
)
train_cfg = dict(max_epochs=12, val_interval=6)

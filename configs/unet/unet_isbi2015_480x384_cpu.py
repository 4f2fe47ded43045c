_base_ = ["./unet_isbi2015_320x256_cpu.py"]

load = [dict(type="LoadImage", size=(960, 768), channels=1), dict(type="Resize", size=(480, 384))]
train_dataloader = dict(dataset=dict(pipeline=[*load, *_base_.augmented]))
val_dataloader = dict(dataset=dict(pipeline=[*load, *_base_.plain]))
test_dataloader = val_dataloader
# One narrow network and fewer epochs: the size alone costs 2.25 times as much.
model = dict(
    members=1, backbone=dict(widths=(16, 32, 64, 128, 128, 128)), head=dict(codec=dict(sigma=3, window=8))
)
train_cfg = dict(max_epochs=12, val_interval=6)

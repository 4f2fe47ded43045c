# The same at a larger size, and for longer.
_base_ = ["./cobb_unet_spine_384x192_cpu.py"]

load = [dict(type="LoadImage", size=(768, 384), channels=1), dict(type="Resize", size=(512, 256))]
train_dataloader = dict(dataset=dict(pipeline=[*load, *_base_.augmented[2:]]))
val_dataloader = dict(dataset=dict(pipeline=[*load, *_base_.plain]))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=24, val_interval=24)
custom_hooks = [dict(_base_.ema, momentum=0.005)]

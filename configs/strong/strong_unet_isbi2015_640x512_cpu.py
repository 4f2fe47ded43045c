_base_ = ["../unet/unet_isbi2015_320x256_cpu.py", "../_base_/datasets/strong_640x512.py"]

train_dataloader = dict(dataset=dict(pipeline=[*_base_.strong_load, *_base_.strong_augmented]))
val_dataloader = dict(dataset=dict(pipeline=[*_base_.strong_load, *_base_.plain]))
test_dataloader = val_dataloader
# Four pixels become channels: all detail of the image at the cost of maps of half its size.
model = dict(members=1, backbone=dict(stem_stride=2))
train_cfg = dict(max_epochs=24, val_interval=8)
# The learning rate ends high, so the mean is taken over more steps.
custom_hooks = [dict(_base_.ema, momentum=0.005)]

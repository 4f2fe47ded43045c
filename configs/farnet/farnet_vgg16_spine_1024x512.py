_base_ = ["./farnet_densenet121_spine_1024x512.py"]

model = _base_.vgg16
train_cfg, param_scheduler = _base_.three_times_as_long

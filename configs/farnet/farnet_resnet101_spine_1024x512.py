_base_ = ["./farnet_densenet121_spine_1024x512.py"]

model = _base_.resnet101

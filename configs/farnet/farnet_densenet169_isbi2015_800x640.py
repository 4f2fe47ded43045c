_base_ = ["./farnet_densenet121_isbi2015_800x640.py"]

model = _base_.densenet169

_base_ = ["./unet4_isbi2015_512x512.py"]

model = _base_.hrnet_w18

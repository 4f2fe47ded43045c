_base_ = ["./unet4_hip_512x256.py"]

model = _base_.unet5

_base_ = ["./unet4_hand_512x256.py"]

model = _base_.unet5

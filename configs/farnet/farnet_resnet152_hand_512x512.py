_base_ = ["./farnet_densenet121_hand_512x512.py"]

model = _base_.resnet152

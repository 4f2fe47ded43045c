_base_ = ["./sc_unet_hand_800x640.py"]

# As the paper's text says; its table 5 is best at 1e-4.
model = dict(head=dict(loss=dict(gamma=1e-3)))

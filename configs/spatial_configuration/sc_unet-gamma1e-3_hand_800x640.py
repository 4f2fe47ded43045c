_base_ = ["./sc_unet_hand_800x640.py"]

# As in the paper's text; its table 5 is best at 1e-4.
model = dict(head=dict(loss=dict(gamma=1e-3)))

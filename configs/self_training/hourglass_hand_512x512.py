_base_ = ["./unet-dilated_hand_512x512.py"]

# One stage; its maps have a quarter of the size of the image, and are enlarged to it.
model = dict(backbone=dict(_delete_=True, type="Hourglass"), head=dict(upsample_to=4))

# The publication's modified U-Net, for mouse heads: a dilated block in place of every two convolutions.
_base_ = ["unet_mouse-head_48x48x48_cpu.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="UNet",
        in_channels=1,
        widths=(16, 32, 64, 128),
        stem_stride=2,
        dilated=True,
        norm_cfg=dict(type="IN", affine=True),
    ),
)

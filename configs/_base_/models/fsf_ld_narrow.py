# The models of fsf_ld.py a quarter as wide, for small images on a few CPU cores. Their loss weighs peaks more
# than the ground: in so few steps a plain squared error loses landmarks (docs/collapsed_channels.md).
_base_ = ["./fsf_ld.py"]

model = dict(
    data_preprocessor=dict(mean=0.4, std=0.25, channels=1),
    backbone=dict(in_channels=1, widths=(8, 16, 32, 64)),
    head=dict(
        num_landmarks=19, codec=dict(sigma=2), loss=dict(_delete_=True, type="EWCLoss", reduction="sum")
    ),
)
widths = (16, 32, 64, 128, 256)
unet5 = dict(backbone=dict(widths=widths))
seg_unet5 = dict(
    backbone=dict(widths=widths), branches=dict(segmentation=dict(decoder=dict(in_channels=widths)))
)
fast_kd = dict(
    head=dict(loss=dict(loss_weight=0.5)),
    lessons=[dict(loss=dict(type="EWCLoss", reduction="sum"), weight=0.5)],
)

# The models of fsf_ld.py a quarter as wide, for small images on a few CPU cores, with a loss that loses no
# landmarks in so few steps (docs/collapsed_channels.md). Its gradients are far smaller than those of summed
# squares, and so is the weight of the distillation term.
_base_ = ["./fsf_ld.py"]

entropy = dict(_delete_=True, type="SpatialCrossEntropyLoss")
model = dict(
    data_preprocessor=dict(mean=0.4, std=0.25, channels=1),
    backbone=dict(in_channels=1, widths=(8, 16, 32, 64)),
    head=dict(num_landmarks=19, codec=dict(sigma=2, activation="softmax"), loss=entropy),
)
widths = (16, 32, 64, 128, 256)
unet5 = dict(backbone=dict(widths=widths))
seg_unet5 = dict(
    backbone=dict(widths=widths), branches=dict(segmentation=dict(decoder=dict(in_channels=widths)))
)
hrnet_w18 = dict(backbone=dict(in_channels=1))
fsf_ld = dict(terms=[dict(_base_.fsf_ld["terms"][0], weight=0.001)])
fast_kd = dict(
    head=dict(loss=dict(loss_weight=0.5)),
    terms=[dict(loss=dict(type="SpatialCrossEntropyLoss"), weight=0.5)],
)

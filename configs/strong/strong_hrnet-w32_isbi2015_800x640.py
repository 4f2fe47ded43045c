_base_ = ["./strong_farnet-densenet121_isbi2015_800x640.py"]

# HRNet in place of FARNet's network; its four resolutions are merged into maps of full size. Needs a GPU.
model = dict(
    backbone=dict(
        _delete_=True,
        type="HRNet",
        width=32,
        init_cfg=dict(type="Pretrained", checkpoint="data/hrnetv2_w32_imagenet_pretrained.pth"),
    ),
    neck=dict(_delete_=True, type="FPN", channels=64, upsample_to=4),
    head=dict(
        _delete_=True,
        type="HeatmapHead",
        num_landmarks=19,
        num_annotators=2,
        codec=dict(type="GaussianHeatmapCodec", sigma=5, activation="softmax", window=12),
        loss=dict(type="SpatialCrossEntropyLoss"),
    ),
)

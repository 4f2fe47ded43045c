# farnet.py a quarter as wide, from random weights, for small images on a few CPU cores.
_base_ = ["./farnet.py"]

model = dict(
    data_preprocessor=dict(mean=0.4, std=0.25, channels=1),
    backbone=dict(in_channels=1, growth_rate=12, block_layers=(4, 8, 12, 8), stem_channels=32, init_cfg=None),
    neck=dict(channels=64),
    head=dict(
        image_channels=1,
        guide_channels=16,
        guide_kernel=3,
        codec=dict(sigma=4, decoder="local_centroid"),
    ),
)

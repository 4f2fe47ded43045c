_base_ = ["fm_osd.py"]

# In place of the published weights: a small transformer from the start, which learns, too.
parts = dict(
    data_preprocessor=dict(_delete_=True, type="LandmarkDataPreprocessor", channels=1, mean=0.4, std=0.25),
    backbone=dict(
        in_channels=1,
        width=64,
        depth=3,
        num_heads=4,
        stride=8,
        grid=20,
        out_indices=(2,),
        frozen_stages=-1,
        init_cfg=None,
    ),
    neck=dict(channels=64),
)
model = dict(parts, head=dict(matching=dict(size=(80, 64))))
fine = dict(parts, head=dict(matching=dict(size=(32, 32))))

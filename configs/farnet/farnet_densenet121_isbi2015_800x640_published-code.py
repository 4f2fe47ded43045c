_base_ = ["./farnet_densenet121_isbi2015_800x640.py"]

# What the published code does differently from the paper, for reproducing its numbers; see README.md.
model = dict(
    data_preprocessor=dict(bgr_255=True),
    head=dict(codec=dict(one_based_grid=True)),
    test_cfg=dict(batch_statistics=True),
)

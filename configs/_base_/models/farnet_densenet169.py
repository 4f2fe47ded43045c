_base_ = ["./farnet.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="DenseNet",
        depth=169,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://densenet169"),
    ),
)

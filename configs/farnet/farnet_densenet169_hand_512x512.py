_base_ = ["./farnet_densenet121_hand_512x512.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="DenseNet",
        depth=169,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://densenet169"),
    ),
)

_base_ = ["./farnet_densenet121_spine_1024x512.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="ResNet",
        depth=152,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet152"),
    ),
)

_base_ = ["./farnet.py"]

# The features are refined by the first block instead of the image (section 4.3 of the paper).
model = dict(
    backbone=dict(
        _delete_=True,
        type="VGG",
        depth=19,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://vgg19"),
    ),
    neck=dict(guide=True),
)

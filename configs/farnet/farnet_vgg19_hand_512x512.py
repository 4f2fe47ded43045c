_base_ = ["./farnet_densenet121_hand_512x512.py"]

# The features are refined by the first block instead of the image, and it takes longer (section 4.3).
model = dict(
    backbone=dict(
        _delete_=True,
        type="VGG",
        depth=19,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://vgg19"),
    ),
    neck=dict(guide=True),
)
train_cfg = dict(max_epochs=900)
param_scheduler = [dict(type="MultiStepLR", milestones=[600], gamma=0.1, by_epoch=True)]

# FARNet (Ao and Wu 2023) as published: DenseNet-121 with ImageNet weights, MSFA, feature refinement, EWC loss
# at both sizes.
model = dict(
    type="LandmarkDetector",
    data_preprocessor=dict(
        type="LandmarkDataPreprocessor",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        channels=3,
        size_divisor=32,
        channels_last=True,
    ),
    backbone=dict(
        type="DenseNet",
        depth=121,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://densenet121"),
    ),
    neck=dict(type="MSFA"),
    head=dict(
        type="FeatureRefinementHead",
        num_landmarks=19,
        codec=dict(type="GaussianHeatmapCodec", sigma=10, decoder="argmax"),
        loss=dict(type="EWCLoss", alpha=40),
    ),
)
# The other backbones of the paper.
densenet169 = dict(backbone=dict(depth=169, init_cfg=dict(checkpoint="torchvision://densenet169")))
resnet101, resnet152 = (
    dict(
        backbone=dict(
            _delete_=True,
            type="ResNet",
            depth=depth,
            init_cfg=dict(type="Pretrained", checkpoint=f"torchvision://resnet{depth}"),
        )
    )
    for depth in (101, 152)
)
# VGG's first block guides the refinement instead of the image (section 4.3).
vgg16, vgg19 = (
    dict(
        backbone=dict(
            _delete_=True,
            type="VGG",
            depth=depth,
            init_cfg=dict(type="Pretrained", checkpoint=f"torchvision://vgg{depth}"),
        ),
        neck=dict(guide=True),
    )
    for depth in (16, 19)
)

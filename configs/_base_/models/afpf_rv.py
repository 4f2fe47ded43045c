# AFPF-RV (Chen et al. 2019) as published, 20,671,739 parameters for 19 landmarks: VGG-19 with ImageNet
# weights, attentive feature pyramid fusion, regression voting at 800 x 640. A leaf sets head.num_landmarks;
# the radius is in pixels of the map. The published optimiser is Adadelta, rate 1, one image per batch.
model = dict(
    type="LandmarkDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=3, size_divisor=32),
    backbone=dict(
        type="VGG",
        depth=19,
        batch_norm=True,
        pooled=True,
        out_indices=(1, 2, 3, 4),
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://vgg19_bn"),
    ),
    neck=dict(type="PyramidFusion"),
    head=dict(
        type="ChannelAttentionHead",
        codec=dict(type="VotingCodec", radius=41),
        loss=[dict(type="HeatmapBCELoss", loss_weight=2), dict(type="OffsetL1Loss")],
    ),
)

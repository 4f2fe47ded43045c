model = dict(
    type="LandmarkDetector",
    data_preprocessor=dict(
        type="LandmarkDataPreprocessor", mean=0.4, std=0.25, channels=1, channels_last=True
    ),
    backbone=dict(
        type="UNet",
        in_channels=1,
        widths=(16, 32, 64, 128, 256, 256),
        conv_bias="auto",
        norm_cfg=dict(type="BN"),
        align_corners=False,
    ),
    head=dict(
        type="HeatmapHead",
        num_landmarks=19,
        codec=dict(type="GaussianHeatmapCodec", sigma=2, activation="softmax", window=6),
        loss=dict(type="SpatialCrossEntropyLoss"),
    ),
)

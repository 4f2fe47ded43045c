# Ham and Oh (2023): U-Net of 64 to 1024 channels (31,380,133 parameters for 37 landmarks), Laplace heatmaps,
# the centroid of the pixels above 0.95 of the maximum, spatial configuration loss.
model = dict(
    type="LandmarkDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", mean=0.0, std=1.0, channels=1, size_divisor=16),
    backbone=dict(type="UNet", in_channels=1, widths=(64, 128, 256, 512, 1024), act_cfg=dict(type="ReLU")),
    head=dict(
        type="HeatmapHead",
        num_landmarks=19,
        codec=dict(type="LaplaceHeatmapCodec", sigma=16, decoder=dict(type="blob_centroid", threshold=0.95)),
        loss=dict(type="SpatialConfigurationLoss", gamma=1e-4, beta=10, features=("cartesian", "polar")),
    ),
)

# SpatialConfiguration-Net as published for volumes of the spine, 96 x 96 x 192 voxels of 2 mm (Payer et al.
# 2019). The image may have any size; a smaller one takes head.downsample=4 or head.spatial_kernel=5. A leaf
# sets head.num_landmarks. The published optimiser is SGD, Nesterov momentum 0.99, rate 5e-8.
model = dict(
    type="LandmarkDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=1),
    backbone=dict(
        type="AdditiveUNet", in_channels=1, width=64, levels=4, dropout=0.5, padding_mode="reflect"
    ),
    head=dict(
        type="SpatialConfigurationHead",
        channels=64,
        spatial_kernel=7,
        downsample=8,
        padding_mode="reflect",
        init_std=1e-3,
        codec=dict(type="LearnedSigmaCodec", sigma=4, scale=1000, regularizer=100),
        loss=dict(type="HeatmapMSELoss", reduction="sum", loss_weight=0.5),
    ),
)

# SpatialConfiguration-Net as published for cephalograms (Payer et al. 2019): 6,348,070 parameters for 19
# landmarks, and a width of the target for each. A leaf sets head.num_landmarks. Weight decay must not reach
# the widths, see LearnedSigmaCodec. The published optimiser is SGD, Nesterov momentum 0.99, rate 1e-6.
model = dict(
    type="LandmarkDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", mean=0.5, std=0.5, channels=1),
    backbone=dict(type="AdditiveUNet", in_channels=1, width=128, levels=4, dropout=0.5),
    head=dict(
        type="SpatialConfigurationHead",
        channels=128,
        spatial_kernel=11,
        downsample=16,
        init_std=1e-4,
        codec=dict(type="LearnedSigmaCodec", sigma=2.5, scale=100, regularizer=20),
        loss=dict(type="HeatmapMSELoss", reduction="sum", loss_weight=0.5),
    ),
)

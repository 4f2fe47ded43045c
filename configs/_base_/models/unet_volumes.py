# A U-Net for volumes with the layers of nnU-Net: strided and transposed convolutions, instance norm; 16.5
# million parameters. A CPU trains backbone.widths of (16, 32, 64, 128), in bfloat16. A leaf sets
# head.num_landmarks; thick slices have backbone.kernel_sizes and backbone.strides of their own.
model = dict(
    type="LandmarkDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=1),
    backbone=dict(
        type="UNet",
        in_channels=1,
        widths=(32, 64, 128, 256, 320),
        downsample="conv",
        upsample="transposed",
        norm_cfg=dict(type="IN", affine=True),
    ),
    head=dict(
        type="HeatmapHead",
        codec=dict(type="GaussianHeatmapCodec", sigma=2, activation="softmax", window=5),
        loss=dict(type="SpatialCrossEntropyLoss"),
    ),
)

# FSF-LD (Huang et al. 2022): the student UNet4, and the changes that turn it into the other models.
model = dict(
    type="LandmarkDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", mean=0.0, std=1.0, channels=3, size_divisor=32),
    backbone=dict(type="UNet", in_channels=3, widths=(32, 64, 128, 256)),
    head=dict(
        type="HeatmapHead",
        num_landmarks=37,
        codec=dict(type="GaussianHeatmapCodec", sigma=1.5),
        # Summed over pixels and landmarks (eq. 4): in a mean, so small a target would be lost.
        loss=dict(type="HeatmapMSELoss", reduction="sum"),
    ),
)
unet5 = dict(backbone=dict(widths=(64, 128, 256, 512, 1024)))
seg_unet5 = dict(
    type="MultiTaskDetector",
    backbone=dict(widths=(64, 128, 256, 512, 1024), bottleneck=dict(type="NonLocalBlock")),
    branches=dict(
        segmentation=dict(
            taps=[*[f"backbone.down{i}" for i in (1, 2, 3, 4)], "backbone.bottleneck"],
            decoder=dict(type="UNetDecoder", in_channels=(64, 128, 256, 512, 1024)),
            head=dict(
                type="HeatmapHead",
                codec=dict(type="HeatmapCodec", shape="disc", sigma=1),
                loss=dict(type="DiceLoss", per_map=False, loss_weight=0.01),
            ),
        )
    ),
)
hrnet_w18 = dict(backbone=dict(_delete_=True, type="HRNet", width=18, in_channels=3, out_indices=(0,)))
# The three finest decoder blocks of both, paired by resolution (eq. 9 to 11).
fsf_ld = dict(
    type="DistilledDetector",
    teacher=dict(checkpoint="run:teacher:last"),
    terms=[
        dict(
            loss=dict(type="AttentionMapLoss"),
            pairs=[(f"backbone.up{i}", f"backbone.up{i + 1}") for i in (1, 2, 3)],
            weight=0.5,
        )
    ],
)
# Zhang et al. (2019): half from the annotation, half from the teacher's heatmaps.
fast_kd = dict(
    type="DistilledDetector",
    teacher=dict(checkpoint="run:teacher:last"),
    head=dict(loss=dict(loss_weight=0.5)),
    terms=[dict(loss=dict(type="HeatmapMSELoss", reduction="sum"), weight=0.5)],
)

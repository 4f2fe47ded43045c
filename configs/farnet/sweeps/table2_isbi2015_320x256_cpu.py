# Table 2 of the paper at the size of a few CPU cores: every part of FARNet added in turn, equal budgets.
config = "../farnet_densenet-narrow_isbi2015_320x256_cpu.py"
seeds = [0, 1, 2]

mse = dict(_delete_=True, type="HeatmapMSELoss")
codec = dict(type="GaussianHeatmapCodec", sigma=4, decoder="local_centroid")
# Without refinement one map, of the size of the neck's features, behind a 3x3 and a 1x1 convolution.
plain = dict(
    _delete_=True,
    type="HeatmapHead",
    num_landmarks=19,
    codec=codec,
    loss=dict(type="HeatmapMSELoss"),
    hidden_channels=16,
)
unet = dict(
    _delete_=True,
    type="UNet",
    in_channels=1,
    widths=(16, 32, 64, 128, 256),
    conv_bias="auto",
    norm_cfg=dict(type="BN"),
    align_corners=False,
)
pyramid = dict(_delete_=True, type="FPN", channels=64, upsample_to=4)

arms = {
    "unet": {"model.backbone": unet, "model.neck": None, "model.head": dict(plain, hidden_channels=None)},
    "fpn": {
        "model.backbone.out_indices": (1, 2, 3, 4),
        "model.neck": pyramid,
        "model.head": dict(plain, hidden_channels=64),
    },
    "msfa-add": {"model.neck.fusion": "add", "model.head": plain},
    "msfa": {"model.head": plain},
    "msfa_fr-naive": {"model.head.coarse": False, "model.head.loss": mse},
    "msfa_fr": {"model.head.loss": mse},
    "msfa_fr_aw": {"model.head.loss": dict(_delete_=True, type="AdaptiveWingLoss")},
    "msfa_fr_ewc": {},
}

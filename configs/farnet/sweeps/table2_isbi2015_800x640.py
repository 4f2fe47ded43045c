# Table 2 of the paper at full size; needs a GPU. Additional rows: networks without refinement, with EWC.
config = "../farnet_densenet121_isbi2015_800x640.py"
seeds = [0]

ewc = dict(type="EWCLoss", alpha=40)
mse = dict(_delete_=True, type="HeatmapMSELoss")
codec = dict(type="GaussianHeatmapCodec", sigma=10, decoder="argmax")
plain = dict(
    _delete_=True,
    type="HeatmapHead",
    num_landmarks=19,
    codec=codec,
    loss=dict(type="HeatmapMSELoss"),
    hidden_channels=64,
)
unet = dict(
    _delete_=True, type="UNet", in_channels=3, widths=(64, 128, 256, 512, 1024), norm_cfg=dict(type="BN")
)
pyramid = dict(_delete_=True, type="FPN", channels=256, upsample_to=4)

arms = {
    "unet": {"model.backbone": unet, "model.neck": None, "model.head": dict(plain, hidden_channels=None)},
    "fpn": {
        "model.backbone.out_indices": (1, 2, 3, 4),
        "model.neck": pyramid,
        "model.head": dict(plain, hidden_channels=256),
    },
    "msfa-add": {"model.neck.fusion": "add", "model.head": plain},
    "msfa": {"model.head": plain},
    "msfa_fr-naive": {"model.head.coarse": False, "model.head.loss": mse},
    "msfa_fr": {"model.head.loss": mse},
    "msfa_fr_aw": {"model.head.loss": dict(_delete_=True, type="AdaptiveWingLoss")},
    "msfa_fr_ewc": {},
    "unet_ewc": {
        "model.backbone": unet,
        "model.neck": None,
        "model.head": dict(plain, hidden_channels=None, loss=ewc),
    },
    "fpn_ewc": {
        "model.backbone.out_indices": (1, 2, 3, 4),
        "model.neck": pyramid,
        "model.head": dict(plain, hidden_channels=256, loss=ewc),
    },
    "msfa-add_ewc": {"model.neck.fusion": "add", "model.head": dict(plain, loss=ewc)},
    "msfa_ewc": {"model.head": dict(plain, loss=ewc)},
}

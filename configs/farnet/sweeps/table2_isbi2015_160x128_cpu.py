# Table 2 of the paper at a size for a few CPU cores, with equal budgets.
_base_ = ["./table2_isbi2015_800x640.py"]
config = "../farnet_densenet-narrow_isbi2015_160x128_cpu.py"
seeds = [0, 1, 2]

codec = dict(sigma=2, decoder="local_centroid")
unet = dict(in_channels=1, widths=(16, 32, 64, 128, 256), conv_bias="auto", align_corners=False)
arms = {
    "unet": {"model.backbone": unet, "model.head": dict(codec=codec)},
    "fpn": {"model.neck": dict(channels=64), "model.head": dict(codec=codec, hidden_channels=64)},
    "msfa-add": {"model.head": dict(codec=codec, hidden_channels=16)},
    "msfa": {"model.head": dict(codec=codec, hidden_channels=16)},
}
arms.update({f"{name}_ewc": options for name, options in arms.items()})

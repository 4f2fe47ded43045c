# Table 3 of Ham and Oh (2023) on cephalograms, at a size for a few CPU cores; and two larger weights.
config = "../sc_unet-narrow_isbi2015_160x128_cpu.py"
seeds = [0, 1, 2]
baseline = "none"

loss = "model.head.loss"
arms = {
    "none": {loss: dict(_delete_=True, type="HeatmapMSELoss")},
    "cartesian": {f"{loss}.features": ["cartesian"]},
    "polar": {f"{loss}.features": ["polar"]},
    "both": {},
    "both-gamma1e-3": {f"{loss}.gamma": 1e-3},
    "both-gamma1e-2": {f"{loss}.gamma": 1e-2},
    # With a loss that gives peaks a larger weight than the background, and so loses no landmark.
    "ewc": {loss: dict(_delete_=True, type="EWCLoss")},
    "ewc-both": {f"{loss}.heatmap_loss": dict(type="EWCLoss")},
    # The term's gradient on the heatmaps has 40 % of the norm of EWC's; with the default weight, 2 %.
    "ewc-both-gamma2e-3": {f"{loss}.heatmap_loss": dict(type="EWCLoss"), f"{loss}.gamma": 2e-3},
}

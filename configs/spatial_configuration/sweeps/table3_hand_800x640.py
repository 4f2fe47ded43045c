# Table 3 of Ham and Oh (2023): spatial features of the loss. For the fold HAND_ATLAS_FOLD; give every fold
# its own --work-dir and --results.
config = "../sc_unet_hand_800x640.py"
seeds = [0, 1, 2]
baseline = "none"

loss = "model.head.loss"
arms = {
    "none": {loss: dict(_delete_=True, type="HeatmapMSELoss")},
    "cartesian": {f"{loss}.features": ["cartesian"]},
    "polar": {f"{loss}.features": ["polar"]},
    "both": {},
}

# Table 3 of Ham and Oh (2023): which spatial features the loss compares. It is of one
# fold, that of HAND_ATLAS_FOLD: give others a --work-dir and --results of their own.
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

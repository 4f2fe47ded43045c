# Table 5 of Ham and Oh (2023): weight of the configuration term; 0 leaves only the heatmap loss. For the
# fold HAND_ATLAS_FOLD; give every fold its own --work-dir and --results.
config = "../sc_unet_hand_800x640.py"
seeds = [0, 1, 2]
baseline = "gamma0"
arms = {
    f"gamma{name}": {"model.head.loss.gamma": float(name)}
    for name in ("0", "1e0", "1e-1", "1e-2", "1e-3", "1e-4", "1e-5", "1e-10")
}

# Table 4 of Ham and Oh (2023): sharpness of the softmax. For the fold HAND_ATLAS_FOLD; give every fold its
# own --work-dir and --results.
config = "../sc_unet_hand_800x640.py"
seeds = [0, 1, 2]
baseline = "beta10"
arms = {f"beta{beta}": {"model.head.loss.beta": beta} for beta in (1, 5, 10, 20, 30)}

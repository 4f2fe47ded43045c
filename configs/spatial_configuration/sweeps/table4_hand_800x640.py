# Table 4 of Ham and Oh (2023): how sharp the softmax is. It is of one fold, that of
# HAND_ATLAS_FOLD: give others a --work-dir and --results of their own.
config = "../sc_unet_hand_800x640.py"
seeds = [0, 1, 2]
baseline = "beta10"
arms = {f"beta{beta}": {"model.head.loss.beta": beta} for beta in (1, 5, 10, 20, 30)}

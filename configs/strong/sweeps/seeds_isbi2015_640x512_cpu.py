# The strong recipe on a CPU: single networks, three views, the mean of four networks, and more epochs.
config = "../strong_unet_isbi2015_640x512_cpu.py"
seeds = [0, 1, 2, 3]
arms = {
    "single": {},
    "views": {
        "trained_as": "single",
        "model.test_cfg.views": [{}, dict(scale=1.05), dict(scale=0.95)],
    },
    "longer": {"train_cfg.max_epochs": 40, "train_cfg.val_interval": 40},
}
ensembles = {"mean": "single", "mean-views": "views"}

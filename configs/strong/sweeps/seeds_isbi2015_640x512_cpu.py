# The strong recipe on a CPU: single networks, what three views add, and the mean of three networks.
config = "../strong_unet_isbi2015_640x512_cpu.py"
seeds = [0, 1, 2]
arms = {
    "single": {},
    "views": {
        "trained_as": "single",
        "model.test_cfg.views": [{}, dict(scale=1.05), dict(scale=0.95)],
    },
}
ensembles = {"mean": "single", "mean-views": "views"}

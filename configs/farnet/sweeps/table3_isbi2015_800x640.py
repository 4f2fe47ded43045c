# The last row of the paper's table 3: FARNet on both test parts; needs a GPU.
config = "../farnet_densenet121_isbi2015_800x640.py"
seeds = [0, 1, 2]
arms = {
    "farnet": {},
    "farnet_test2": {"trained_as": "farnet", "test_dataloader.dataset.split": "test2"},
}

# Tables 2 and 5 of FSF-LD (Huang et al. 2022), halves of hips, at the paper's size; needs a GPU.
_base_ = ["./tables3-and-6_isbi2015_512x512.py"]
config = "../unet4_hip_512x256.py"

second = {"test_dataloader.dataset.ids": "splits_6-2-2_seed0/test2.txt"}
arms = {name: second for name in _base_.arms if name.endswith("_test2")}

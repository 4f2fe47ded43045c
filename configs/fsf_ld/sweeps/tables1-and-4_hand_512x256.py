# Tables 1 and 4 of FSF-LD (Huang et al. 2022), hands, at the paper's size; needs a GPU.
_base_ = ["./tables3-and-6_isbi2015_512x512.py"]
config = "../unet4_hand_512x256.py"

second = {"test_dataloader.dataset.ids": "mmlandmark::fsf_ld/splits/hand_atlas/test2.txt"}
arms = {name: second for name in _base_.arms if name.endswith("_test2")}

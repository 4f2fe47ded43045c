# Mouse heads: a U-Net and SpatialConfiguration-Net that see the whole head; the arms "-voxel" decode to whole
# voxels as their only difference.
_base_ = ["../scn_mouse-head_64x64x64_cpu.py"]

config = "../unet_mouse-head_64x64x64_cpu.py"
seeds = [0, 1, 2]
baseline = "unet"

voxel = {"model.head.codec.decoder": "argmax"}
scn = {
    "model.backbone": dict(_base_.model.backbone, _delete_=True),
    "model.head": dict(_base_.model.head, _delete_=True),
    "optim_wrapper": _base_.optim_wrapper,
    "param_scheduler": _base_.param_scheduler,
}
arms = {
    "unet": {},
    "unet-voxel": {"trained_as": "unet", **voxel},
    "scn": scn,
    "scn-voxel": {"trained_as": "scn", **voxel},
}

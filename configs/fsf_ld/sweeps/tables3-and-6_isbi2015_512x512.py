# Tables 3 and 6 of FSF-LD (Huang et al. 2022), cephalograms, at the paper's size; needs a GPU. Every network
# is tested on both test parts.
_base_ = ["../../_base_/models/fsf_ld.py"]

config = "../unet4_isbi2015_512x512.py"
seeds = [0, 1, 2]

student = {"model.type": "DistilledDetector", "custom_hooks": [dict(type="TeacherHook")]}
fast_kd = {**student, "model.head.loss.loss_weight": 0.5, "model.terms": _base_.fast_kd["terms"]}
fsf_ld = {**student, "model.terms": _base_.fsf_ld["terms"]}
unet5 = {"model.backbone.widths": _base_.unet5["backbone"]["widths"]}
seg_unet5 = {
    **unet5,
    "model.type": _base_.seg_unet5["type"],
    "model.backbone.bottleneck": _base_.seg_unet5["backbone"]["bottleneck"],
    "model.branches": _base_.seg_unet5["branches"],
}
arms = {
    "hrnet": {"model.backbone": _base_.hrnet_w18["backbone"]},
    "unet4": {},
    "unet5": unet5,
    "seg-unet5": seg_unet5,
    "fast-kd_unet5": {**fast_kd, "inputs": {"teacher": "unet5"}},
    "fsf-ld_unet5": {**fsf_ld, "inputs": {"teacher": "unet5"}},
    "fast-kd_seg-unet5": {**fast_kd, "inputs": {"teacher": "seg-unet5"}},
    "fsf-ld_seg-unet5": {**fsf_ld, "inputs": {"teacher": "seg-unet5"}},
}
second = {"test_dataloader.dataset.ids": "mmlandmark::fsf_ld/splits/isbi2015/test2.txt"}
arms.update({f"{name}_test2": dict(second, trained_as=name) for name in tuple(arms)})

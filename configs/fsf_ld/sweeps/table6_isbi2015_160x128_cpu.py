# Table 6 of FSF-LD (Huang et al. 2022) on cephalograms, at a size for a few CPU cores.
_base_ = ["../../_base_/models/fsf_ld_narrow.py"]

config = "../unet4-narrow_isbi2015_160x128_cpu.py"
seeds = [0, 1, 2]
baseline = "unet4"

unet5 = {"model.backbone.widths": _base_.widths}
seg_unet5 = {
    **unet5,
    "model.type": _base_.seg_unet5["type"],
    "model.backbone.bottleneck": _base_.seg_unet5["backbone"]["bottleneck"],
    "model.branches": _base_.seg_unet5["branches"],
}
student = {"model.type": "DistilledDetector", "custom_hooks": [dict(type="TeacherHook")]}
fast_kd = {**student, "model.head.loss.loss_weight": 0.5, "model.lessons": _base_.fast_kd["lessons"]}
fsf_ld = {**student, "model.lessons": _base_.fsf_ld["lessons"]}
fivefold = {**student, "model.lessons": [dict(_base_.fsf_ld["lessons"][0], weight=0.005)]}

arms = {
    "unet4": {},
    "unet5": unet5,
    "seg-unet5": seg_unet5,
    "fast-kd_unet5": {**fast_kd, "teacher": "unet5"},
    "fast-kd_seg-unet5": {**fast_kd, "teacher": "seg-unet5"},
    "fsf-ld_unet5": {**fsf_ld, "teacher": "unet5"},
    "fsf-ld_seg-unet5": {**fsf_ld, "teacher": "seg-unet5"},
    "fsf-ld_unet5_fivefold": {**fivefold, "teacher": "unet5"},
    "fsf-ld_seg-unet5_fivefold": {**fivefold, "teacher": "seg-unet5"},
}

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
fast_kd = {**student, "model.head.loss.loss_weight": 0.5, "model.terms": _base_.fast_kd["terms"]}
fsf_ld = {**student, "model.terms": _base_.fsf_ld["terms"]}
term = _base_.fsf_ld["terms"][0]
coarser = [("down4", "up1"), ("up1", "up2"), ("up2", "up3")]
variants = {
    "fivefold": dict(term, weight=0.005),
    "third": dict(term, weight=0.0003),
    "warmup": dict(term, weight=[(0, 0.0), (5, 0.001)]),
    "coarser": dict(term, pairs=[(f"backbone.{mine}", f"backbone.{its}") for mine, its in coarser]),
}

arms = {
    "unet4": {},
    "unet5": unet5,
    "seg-unet5": seg_unet5,
    "fast-kd_unet5": {**fast_kd, "inputs": {"teacher": "unet5"}},
    "fast-kd_seg-unet5": {**fast_kd, "inputs": {"teacher": "seg-unet5"}},
    "fsf-ld_unet5": {**fsf_ld, "inputs": {"teacher": "unet5"}},
    "fsf-ld_seg-unet5": {**fsf_ld, "inputs": {"teacher": "seg-unet5"}},
    **{
        f"fsf-ld_{teacher}_{variant}": {**student, "model.terms": [changed], "inputs": {"teacher": teacher}}
        for teacher in ("unet5", "seg-unet5")
        for variant, changed in variants.items()
    },
}

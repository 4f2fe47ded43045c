# Table 6 of FSF-LD as in table6_isbi2015_160x128_cpu.py, with EWC, summed, and the paper's weight of the
# distillation term: the loss on Gaussian maps closest to the paper's of those that learn here.
_base_ = ["../../_base_/models/fsf_ld.py"]

config = "../unet4-narrow_isbi2015_160x128_cpu.py"
seeds = [0, 1, 2]
baseline = "unet4"

widths = (16, 32, 64, 128, 256)
loss = dict(type="EWCLoss", reduction="sum")
ewc = {
    "model.head.codec": dict(_delete_=True, type="GaussianHeatmapCodec", sigma=2),
    "model.head.loss": dict(loss, _delete_=True),
}
unet5 = {**ewc, "model.backbone.widths": widths}
branches = _base_.seg_unet5["branches"]
branches["segmentation"]["decoder"]["in_channels"] = widths
seg_unet5 = {
    **unet5,
    "model.type": _base_.seg_unet5["type"],
    "model.backbone.bottleneck": _base_.seg_unet5["backbone"]["bottleneck"],
    "model.branches": branches,
}
student = {**ewc, "model.type": "DistilledDetector", "custom_hooks": [dict(type="TeacherHook")]}
half = {"model.head.loss": dict(loss, _delete_=True, loss_weight=0.5)}
fast_kd = {**student, **half, "model.terms": [dict(loss=loss, weight=0.5)]}
fsf_ld = {**student, "model.terms": _base_.fsf_ld["terms"]}

arms = {
    "unet4": ewc,
    "unet5": unet5,
    "seg-unet5": seg_unet5,
    "fast-kd_unet5": {**fast_kd, "inputs": {"teacher": "unet5"}},
    "fast-kd_seg-unet5": {**fast_kd, "inputs": {"teacher": "seg-unet5"}},
    "fsf-ld_unet5": {**fsf_ld, "inputs": {"teacher": "unet5"}},
    "fsf-ld_seg-unet5": {**fsf_ld, "inputs": {"teacher": "seg-unet5"}},
}

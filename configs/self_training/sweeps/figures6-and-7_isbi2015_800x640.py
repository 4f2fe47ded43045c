# Figures 6 and 7 of Chen et al. on cephalograms of ISBI 2015, with a U-Net; needs a GPU. Without shape
# regulation (sr), all pseudo labels are learnt from as they are; without Region Attention (ral), by the
# distance of coordinates. Numbers are films without annotation.
_base_ = ["../unet_isbi2015_800x640.py"]

config = "../unet_isbi2015_800x640.py"
seeds = [0]
baseline = "supervised"

distance = dict(_base_.adam)
ral = dict(_base_.attended)
loader = dict(_base_.second["train_dataloader"], unlabelled=_base_.others)
regulated = dict(train_dataloader=loader, custom_hooks=_base_.second["custom_hooks"])
naive = dict(train_dataloader=loader, custom_hooks=[dict(_base_.hook, selector=dict(type="KeepAll"))])
tune = dict(name="fine_tune", load_from="run:self_train:last")
start = {"inputs": {"load_from": "supervised"}}
arms = {
    "supervised": {"stages": [_base_.pre_train]},
    "no-sr-no-ral": {"stages": [dict(distance, name="self_train", **naive), dict(distance, **tune)], **start},
    "no-ral": {"stages": [dict(distance, name="self_train", **regulated), dict(distance, **tune)], **start},
    "no-sr": {"stages": [dict(ral, name="self_train", **naive), dict(ral, **tune)], **start},
    "ours": {"stages": [dict(ral, name="self_train", **regulated), dict(ral, **tune)], **start},
}
for number in (75, 150, 300):
    some = dict(loader, unlabelled=dict(_base_.others, indices=number))
    arms[f"ours_{number}"] = {
        "stages": [dict(ral, name="self_train", **dict(regulated, train_dataloader=some)), dict(ral, **tune)],
        **start,
    }

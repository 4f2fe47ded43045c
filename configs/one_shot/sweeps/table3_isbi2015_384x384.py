# Table 3 of He et al. (2025): channels of the adapters, and CC2D with more on its way up. Needs a GPU.
_base_ = ["../cc2d_vgg19_isbi2015_384x384.py"]

config = "../c-adapter_vgg19_isbi2015_384x384.py"
seeds = [0]
baseline = "c0"

arms = {f"c{channels}": {"model.neck.adapter_channels": channels} for channels in (0, 4, 8, 16, 32)}
# Trained as CC2D is. Its receptive field blocks are as wide as their levels.
names = ("train_dataloader", "train_cfg", "optim_wrapper")
cc2d = {name: dict(_base_[name], _delete_=True) for name in names}
cc2d |= {name: _base_[name] for name in ("custom_hooks", "param_scheduler")}
for more in (16, 16 * 19):
    wider = dict(_base_.model["neck"], widths=[width + more for width in _base_.model["neck"]["widths"]])
    arms[f"cc2d_wider{more}"] = {**cc2d, "model": dict(_base_.model, _delete_=True, neck=wider)}

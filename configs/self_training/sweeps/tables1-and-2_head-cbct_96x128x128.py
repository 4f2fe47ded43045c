# Tables 1 and 2 of Chen et al., cone-beam CT of heads; needs a GPU. The arms "50" know half of the 31
# annotated volumes.
_base_ = ["../scn_head-cbct_96x128x128.py"]

config = "../unet_head-cbct_96x128x128.py"
seeds = [0]
baseline = "unet"

networks = {"unet": {}, "scn": {"model": dict(_base_.model, _delete_=True)}}
after = {"unet": {}, "scn": dict(model=_base_.integral)}
loader = dict(_base_.second["train_dataloader"], unlabelled=_base_.others)
mixed = dict(_base_.both, unlabelled=_base_.others)
rival = dict(_base_.pre_train, name="self_train", train_dataloader=mixed)
tuned = dict(_base_.pre_train, name="fine_tune", load_from="run:self_train:last")
arms = {name: dict(network, stages=[_base_.pre_train]) for name, network in networks.items()}
for name, network in networks.items():
    started = dict(network, inputs={"load_from": name})
    ours = [
        dict(_base_.second, train_dataloader=loader, **after[name]),
        dict(_base_.fine_tune, **after[name]),
    ]
    arms[f"{name}_uda"] = dict(started, stages=[dict(rival, custom_hooks=[_base_.consistent]), tuned])
    arms[f"{name}_ts"] = dict(started, stages=[dict(rival, custom_hooks=[_base_.scored]), tuned])
    teacher = dict(rival, custom_hooks=[_base_.average, _base_.taught])
    arms[f"{name}_mean-teacher"] = dict(started, stages=[teacher, tuned])
    arms[f"{name}_ours"] = dict(started, stages=ours)
    few, maker = {"train_dataloader.dataset.indices": 15}, {"inputs": {"load_from": f"{name}_50"}}
    arms[f"{name}_50"] = {**arms[name], **few}
    arms[f"{name}_ours_50"] = {**arms[f"{name}_ours"], **few, **maker}

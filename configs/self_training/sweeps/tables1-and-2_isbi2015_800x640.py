# Tables 1 and 2 of Chen et al., cephalograms; needs a GPU. What learns from films without annotation goes on
# from the network that has learnt from as many annotated ones. Without a number, these are all 150.
_base_ = ["../afpf-rv_isbi2015_800x640.py"]

config = "../unet_isbi2015_800x640.py"
seeds = [0]
baseline = "unet"

published = dict(model=dict(_base_.model, _delete_=True), **{"train_dataloader.batch_size": 1})
networks = {"unet": {}, "afpf-rv": published}
after = {"unet": {}, "afpf-rv": dict(model=_base_.discs)}
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
    for number in (20, 50, 100):
        few = {"train_dataloader.dataset.indices": number}
        arms[f"{name}_{number}"] = {**arms[name], **few}
        arms[f"{name}_ours_{number}"] = {
            **arms[f"{name}_ours"],
            **few,
            "inputs": {"load_from": f"{name}_{number}"},
        }

# Tables 1 and 2 of Chen et al., hands; needs a GPU. For the fold HAND_ATLAS_FOLD; give every fold its own
# --work-dir and --results. Numbers are percent of the annotated training part.
_base_ = ["../unet-dilated_hand_512x512.py"]

config = "../unet-dilated_hand_512x512.py"
seeds = [0]
baseline = "unet-dilated"

hourglass = {"model.backbone": dict(_delete_=True, type="Hourglass"), "model.head.upsample_to": 4}
networks = {"hourglass": hourglass, "unet-dilated": {}}
loader = dict(_base_.second["train_dataloader"], unlabelled=_base_.others)
mixed = dict(_base_.both, unlabelled=_base_.others)
rival = dict(_base_.pre_train, name="self_train", train_dataloader=mixed)
tuned = dict(_base_.pre_train, name="fine_tune", load_from="run:self_train:last")
ours = [dict(_base_.second, train_dataloader=loader), _base_.fine_tune]
arms = {name: dict(network, stages=[_base_.pre_train]) for name, network in networks.items()}
for name, network in networks.items():
    started = dict(network, inputs={"load_from": name})
    arms[f"{name}_uda"] = dict(started, stages=[dict(rival, custom_hooks=[_base_.consistent]), tuned])
    arms[f"{name}_ts"] = dict(started, stages=[dict(rival, custom_hooks=[_base_.scored]), tuned])
    teacher = dict(rival, custom_hooks=[_base_.average, _base_.taught])
    arms[f"{name}_mean-teacher"] = dict(started, stages=[teacher, tuned])
    arms[f"{name}_ours"] = dict(started, stages=ours)
    for percent, number in ((20, 119), (50, 298)):
        few = {"train_dataloader.dataset.indices": number}
        arms[f"{name}_{percent}"] = {**arms[name], **few}
        maker = {"inputs": {"load_from": f"{name}_{percent}"}}
        arms[f"{name}_ours_{percent}"] = {**arms[f"{name}_ours"], **few, **maker}

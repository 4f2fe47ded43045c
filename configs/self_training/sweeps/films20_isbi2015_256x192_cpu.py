# Self-training on cephalograms at a size for a few CPU cores: 20 annotated films, and 100 whose annotation
# is hidden from all but a report. One network is trained on the 20; from it all arms go on, with equal
# numbers of iterations in self-training and in fine-tuning.
_base_ = ["../../_base_/models/unet6.py"]

config = "../efficientnet-lite0_isbi2015_256x192_cpu.py"
seeds = [0, 1, 2]
baseline = "supervised"

hidden = [index for index in range(150) if index % 3]
mixed = dict(
    sampler=dict(_delete_=True, type="LabelledShareSampler", labelled=0.5),
    unlabelled=dict(indices=hidden),
    dataset=dict(times=1),
)
# From the first weights on, which are good ones.
ema = dict(type="EMAHook", momentum=0.02, update_buffers=True)
rate = 4e-4
slow = dict(
    custom_hooks=[ema],
    optim_wrapper=dict(optimizer=dict(lr=rate)),
    param_scheduler=[
        dict(type="OneCycleLR", eta_max=rate, pct_start=0.2, by_epoch=True, convert_to_iter_based=True)
    ],
)
first = dict(slow, name="self_train", train_cfg=dict(max_epochs=8, val_interval=8))
second = dict(slow, name="fine_tune", load_from="run:self_train:last")
second["train_cfg"] = dict(max_epochs=4, val_interval=4)
everything = dict(type="KeepAll")
consistent = dict(by_epoch=False, clean_view=True, ramp_up=2, selector=everything)
ral = dict(model=dict(head=dict(loss=dict(_delete_=True, type="RegionAttentionLoss", beta=2.0))))
agreed, adjusted = (dict(type="ShapeRegulator", way=way) for way in ("agreement", "adjustment"))
judged = dict(type="TeacherScore", keep=0.5, size=32, widths=(16, 32, 64), lr=1e-3)
rounds = dict(averaged=True, interval=2)
labels = {
    "naive": dict(rounds, selector=everything),
    "uda": consistent,
    "ts": dict(rounds, selector=judged),
    "mean-teacher": dict(consistent, averaged=True),
    "ours": dict(rounds, selector=agreed),
    "ours-published": dict(rounds, selector=adjusted),
}
attended = {"ours": [ral, {}], "ours-published": [ral, ral]}

start = {"inputs": {"load_from": "pre-trained"}}
arms = {"pre-trained": {}, "supervised": {**start, "stages": [first, second]}}
# What of "ours" is due to its loss alone.
arms["supervised-attention"] = {**start, "stages": [dict(first, **ral), second]}
for name, options in labels.items():
    losses = attended.get(name, [{}, {}])
    hooks = [ema, dict(type="PseudoLabelHook", **options)]
    stage = dict(first, **losses[0], train_dataloader=mixed, custom_hooks=hooks)
    arms[name] = {**start, "stages": [stage, dict(second, **losses[1])]}
# Another network, which begins at random, and what of "ours" makes it better or worse.
backbone = dict(_base_.model["backbone"], widths=(24, 48, 96, 192, 256, 256), stem_stride=2)
unet = {"model": dict(_base_.model, _delete_=True, backbone=backbone), "optim_wrapper.dtype": "auto"}
arms["unet_pre-trained"] = unet
for name in ("supervised", "supervised-attention", "naive", "ours"):
    arms[f"unet_{name}"] = {**arms[name], **unet, "inputs": {"load_from": "unet_pre-trained"}}

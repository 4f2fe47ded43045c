# The strong recipe with as few annotated films as templates, for a comparison. An epoch has 25 batches.
_base_ = ["../strong/strong_efficientnet-lite0_isbi2015_640x512_cpu.py"]

load = [dict(type="LoadImage", size=(640, 512), channels=1), dict(type="Resize", size=(320, 256))]
films = dict(_base_.dataset, split="train", ids=["125"])
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        _delete_=True,
        type="RepeatDataset",
        times=200,
        dataset=dict(films, pipeline=[*load, *_base_.strong_augmented]),
    ),
)
val_dataloader = dict(dataset=dict(pipeline=[*load, *_base_.plain]))
test_dataloader = dict(dataset=dict(split="test", pipeline=[*load, *_base_.plain]))
model = dict(head=dict(num_annotators=1))
train_cfg = dict(max_epochs=20, val_interval=20)
default_hooks = dict(checkpoint=dict(interval=5))

_base_ = ["../strong/strong_efficientnet-lite0_isbi2015_640x512_cpu.py"]

# The strong recipe at a smaller size, with 20 annotated films: every 15th of the 150 for training, and others
# between them. An epoch has 25 batches, as one of 100 films without annotation and as many with one.
labelled = [*range(0, 150, 15), *range(6, 150, 15)]
load = [dict(type="LoadImage", size=(480, 384), channels=1), dict(type="Resize", size=(256, 192))]
films = dict(_base_.train_dataloader["dataset"], indices=labelled)
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        _delete_=True,
        type="RepeatDataset",
        times=10,
        dataset=dict(films, pipeline=[*load, *_base_.strong_augmented]),
    ),
)
val_dataloader = dict(dataset=dict(pipeline=[*load, *_base_.plain]))
test_dataloader = val_dataloader
model = dict(head=dict(num_annotators=1))
train_cfg = dict(max_epochs=12, val_interval=12)
default_hooks = dict(checkpoint=dict(interval=4))

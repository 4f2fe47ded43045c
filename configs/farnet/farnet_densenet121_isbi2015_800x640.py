_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015.py",
    "../_base_/models/farnet.py",
    "../_base_/schedules/adam_multistep.py",
]

# No augmentation and one image per batch, as in the paper.
load = [dict(type="LoadImage", size=(800, 640), channels=1), dict(type="Resize", size=(800, 640))]
loader = dict(
    batch_size=1, num_workers=2, persistent_workers=True, dataset=dict(pipeline=[*load, *_base_.plain])
)
train_dataloader = val_dataloader = test_dataloader = loader

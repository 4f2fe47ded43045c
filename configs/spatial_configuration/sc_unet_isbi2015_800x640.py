_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015.py",
    "../_base_/models/unet_laplace.py",
    "../_base_/schedules/adam_800epochs.py",
]

load = [dict(type="LoadImage", size=(800, 640), channels=1), dict(type="Resize", size=(800, 640))]
loader = dict(batch_size=1, num_workers=2, persistent_workers=True)
train_dataloader = dict(loader, dataset=dict(pipeline=[*load, *_base_.paper_augmented]))
val_dataloader = dict(loader, dataset=dict(pipeline=[*load, *_base_.plain]))
test_dataloader = val_dataloader

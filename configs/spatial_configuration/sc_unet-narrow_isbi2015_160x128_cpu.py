_base_ = ["./sc_unet_isbi2015_800x640.py"]

# A fifth of the size, and a network narrow enough for a few CPU cores; sigma shrinks with the image.
load = [dict(type="LoadImage", size=(320, 256), channels=1), dict(type="Resize", size=(160, 128))]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(loader, batch_size=2, dataset=dict(pipeline=[*load, *_base_.paper_augmented]))
val_dataloader = dict(loader, batch_size=6, dataset=dict(pipeline=[*load, *_base_.plain]))
test_dataloader = val_dataloader

model = dict(
    backbone=dict(widths=(16, 32, 64, 128, 256)),
    head=dict(codec=dict(sigma=3.2)),
)
# In bfloat16, as the recorded results.
optim_wrapper = dict(
    _delete_=True, type="AutocastOptimWrapper", optimizer=dict(type="Adam", lr=1e-3, betas=(0.9, 0.9))
)
train_cfg = dict(max_epochs=30, val_interval=10)
param_scheduler = [dict(type="MultiStepLR", milestones=[19, 26], gamma=0.1, by_epoch=True)]

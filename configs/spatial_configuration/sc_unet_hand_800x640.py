_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/hand_atlas.py",
    "../_base_/models/unet_laplace.py",
    "../_base_/schedules/adam_800epochs.py",
]

# As in the paper: height and width are scaled independently, and its numbers depend on that.
load = [dict(type="LoadImage", size=(800, 640), channels=1), dict(type="Resize", size=(800, 640))]
train_dataloader = dict(dataset=dict(pipeline=[*load, *_base_.paper_augmented]))
val_dataloader = dict(dataset=dict(pipeline=[*load, *_base_.plain]))
test_dataloader = val_dataloader
model = dict(head=dict(num_landmarks=37))

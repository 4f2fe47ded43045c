_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/hand_atlas_512x512.py",
    "../_base_/models/unet_laplace.py",
    "../_base_/schedules/adam_800epochs.py",
]

# Size and augmentation as in the paper: height and width are scaled apart, which its numbers rest on. What it
# does to hue and saturation changes nothing of a grey image.
load = [dict(type="LoadImage", size=(800, 640), channels=1), dict(type="Resize", size=(800, 640))]
train_pipeline = [
    *load,
    dict(type="RandomAffine", rotation=15, scale=0.2),
    dict(type="Resample"),
    dict(type="RandomBrightnessContrast", brightness=0.2, contrast=0.5, prob=0.9),
    dict(type="PackInputs"),
]
test_pipeline = [*load, dict(type="Resample"), dict(type="PackInputs")]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
model = dict(head=dict(num_landmarks=37))
